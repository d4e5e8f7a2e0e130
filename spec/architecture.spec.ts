/** The shape of src/: who may import whom, who may touch the world, and how large a file may be. Think hard before changing it. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

/** The stack of src/, bottom first. A folder imports only from itself and from folders before it. */
const layers = [
  'structures',
  'platform',
  'wire',
  'store',
  'cluster',
  'broker',
  'amqp',
  'management',
  'node',
]

/** The programs and the package's face stand above the stack. */
const topFiles = ['index.ts', 'main.ts', 'ctl.ts']

/** Pairs that never import each other, whatever the order of the stack says. */
const strangers = [['amqp', 'management']]

/** Where the world may be touched: everything else is given it. */
const atTheEdge = /^(platform\/|node\/|management\/(server|application)\.ts$|main\.ts$|ctl\.ts$)/

/**
 * What anybody may import of Node: modules that only compute. Of node:crypto that is hashing,
 * which broker/access/passwords.ts does; its randomness is access to the world.
 */
const pureModules: Readonly<Record<string, readonly string[] | 'all'>> = {
  'node:buffer': 'all',
  'node:path': 'all',
  'node:util': 'all',
  'node:crypto': ['hash', 'timingSafeEqual'],
  'node:zlib': ['crc32'],
}

/** Globals that reach out, and the only places that may name them. */
const reserved: readonly { readonly name: string; readonly allowed: RegExp }[] = [
  ...[
    'Date.now',
    'new Date()',
    'Math.random',
    'crypto',
    'setTimeout',
    'setInterval',
    'setImmediate',
    'queueMicrotask',
    'performance',
    'fetch',
  ].map(name => ({ name, allowed: /^platform\// })),
  { name: 'process', allowed: /^(node\/|platform\/handle-socket\.ts$|main\.ts$|ctl\.ts$)/ },
  { name: 'console', allowed: /^ctl\.ts$/ },
]

const longestFile = 500

/** Files that are longer, and why they stay in one piece. */
const longFiles: Readonly<Record<string, string>> = {
  'wire/field-table.ts': 'one case per type letter for reading, checking, writing and comparing',
}

const vagueNames = /(^|[-/])(utils?|helpers?|managers?|misc|common|types)\.ts$/

interface Import {
  readonly from: string
  readonly names: readonly string[]
  /** `import type`: nothing is loaded when the program runs. */
  readonly typeOnly: boolean
}

interface Source {
  readonly path: string
  readonly text: string
}

/** All sources, their paths relative to src/. */
function sources(): Source[] {
  const root = fileURLToPath(new URL('../../src/', import.meta.url))
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map(path => path.replaceAll('\\', '/'))
    .filter(path => path.endsWith('.ts'))
    .sort()
    .map(path => ({ path, text: readFileSync(`${root}/${path}`, 'utf8') }))
}

/** The text without comments; of strings, which may look like comments, only those in `kept`. */
function code(text: string, kept: 'all strings' | 'no strings'): string {
  const tokens =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/g
  return text.replace(tokens, token => {
    if (token.startsWith('/')) return ' '
    // What a template computes is code.
    return kept === 'all strings' || token.startsWith('`') ? token : "''"
  })
}

function importsOf({ text }: Source): Import[] {
  const statement =
    /^(?:import|export)\s+(?:(type\s+)?([\w$*{},\s]+?)\s*\bfrom\s*)?'([^']+)'|\bimport\(\s*'([^']+)'/gm
  return Array.from(code(text, 'all strings').matchAll(statement), match => {
    const list = (match[2] ?? '*').replace(/[{}\s]+/g, ' ').split(',')
    const names = list.map(name => name.trim()).filter(name => name !== '')
    return {
      from: match[3] ?? (match[4] as string),
      names,
      typeOnly: match[1] !== undefined,
    }
  })
}

function isType(name: string): boolean {
  return name.startsWith('type ')
}

/** The path of an imported source, relative to src/; null for a package. */
function target(path: string, from: string): string | null {
  if (!from.startsWith('.')) return null
  return posix.join(dirname(path), from).replace(/\.js$/, '.ts')
}

/** Where a source stands in the stack: 0 is the lowest, -1 is nowhere. */
function height(path: string): number {
  if (!path.includes('/')) return topFiles.includes(path) ? layers.length : -1
  return layers.indexOf(folder(path))
}

function folder(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path
}

/** Imports that go up the stack, or between strangers. */
function upwardImports(all: readonly Source[]): string[] {
  return all.flatMap(source => {
    const own = height(source.path)
    if (own < 0) return [`${source.path} stands in no layer`]
    return importsOf(source).flatMap(({ from }) => {
      const path = target(source.path, from)
      if (path === null) return []
      const other = height(path)
      const met = [folder(source.path), folder(path)]
      const strange = strangers.some(pair => pair.every(name => met.includes(name)))
      const allowed = other >= 0 && (other < own || met[0] === met[1] || own === layers.length)
      return allowed && !strange ? [] : [`${source.path} imports ${path}`]
    })
  })
}

/** Imports of Node's modules, and of packages, from where the world is not to be touched. */
function worldlyImports(all: readonly Source[]): string[] {
  return all
    .filter(({ path }) => !atTheEdge.test(path))
    .flatMap(source =>
      importsOf(source).flatMap(({ from, names, typeOnly }) => {
        if (from.startsWith('.') || typeOnly) return []
        const pure = pureModules[from] ?? []
        if (pure === 'all') return []
        return names
          .filter(name => !isType(name) && !pure.includes(name))
          .map(name => `${source.path} imports ${name} of ${from}`)
      }),
    )
}

/** Names of globals where they are not to be used. */
function worldlyGlobals(all: readonly Source[]): string[] {
  return all.flatMap(({ path, text }) => {
    const words = code(text, 'no strings')
    return reserved
      .filter(({ name, allowed }) => !allowed.test(path) && mentions(words, name))
      .map(({ name }) => `${path} uses ${name}`)
  })
}

/** Whether the code uses a global: not a property, a key or a part of another name. */
function mentions(words: string, name: string): boolean {
  const escaped = name.replace(/[.()]/g, '\\$&')
  const before = '(?<![\\w$#.])(?:globalThis\\.)?'
  return new RegExp(`${before}${escaped}(?![\\w$]|\\s*:)`).test(words)
}

/** Chains of sources that load each other; an import of types alone loads nothing. */
function cycles(all: readonly Source[]): string[] {
  const graph = new Map(
    all.map(source => [
      source.path,
      importsOf(source).flatMap(({ from, typeOnly }) =>
        typeOnly ? [] : [target(source.path, from) ?? ''],
      ),
    ]),
  )
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, way: readonly string[]) => {
    const at = way.indexOf(path)
    if (at >= 0) found.push([...way.slice(at), path].join(' > '))
    if (at >= 0 || done.has(path)) return
    for (const next of graph.get(path) ?? []) visit(next, [...way, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  return found
}

function vaguelyNamed(all: readonly Source[]): string[] {
  return all.filter(({ path }) => vagueNames.test(path)).map(({ path }) => path)
}

function tooLong(all: readonly Source[]): string[] {
  return all
    .filter(({ path, text }) => text.split('\n').length - 1 > longestFile && !(path in longFiles))
    .map(({ path }) => path)
}

const all = sources()

t.test('a folder imports only from itself and from lower ones', async t => {
  t.ok(all.length > 50, 'the sources were found')
  t.same(upwardImports(all), [])
})

t.test('only the edge imports what touches the world', async t => {
  t.same(worldlyImports(all), [])
})

t.test('time, randomness and the process are used only where they are wrapped', async t => {
  t.same(worldlyGlobals(all), [])
})

t.test('no sources load each other in a circle', async t => {
  t.same(cycles(all), [])
})

t.test('a file is named after what it holds', async t => {
  t.same(vaguelyNamed(all), [])
})

t.test('a file is short, or it is said why not', async t => {
  t.same(tooLong(all), [])
  const long = all.filter(({ text }) => text.split('\n').length - 1 > longestFile)
  t.same(
    Object.keys(longFiles).sort(),
    long.map(({ path }) => path).sort(),
    'and no longer than so',
  )
})

/** Sources that break a rule, and what is said of them. */
const broken: readonly [rule: (all: Source[]) => string[], path: string, text: string][] = [
  [upwardImports, 'wire/a.ts', "import { Queue } from '../broker/queue.js'"],
  [upwardImports, 'wire/a.ts', "import type { Queue } from '../broker/queue.js'"],
  [upwardImports, 'wire/a.ts', "export { Queue } from '../broker/queue.js'"],
  [upwardImports, 'wire/a.ts', "import {\n  Queue,\n} from '../broker/queue.js'"],
  [upwardImports, 'wire/a.ts', "import '../broker/queue.js'"],
  [upwardImports, 'wire/a.ts', "await import('../broker/queue.js')"],
  [upwardImports, 'wire/a.ts', "import { start } from '../index.js'"],
  [upwardImports, 'management/a.ts', "import { Channel } from '../amqp/channel.js'"],
  [upwardImports, 'amqp/a.ts', "import { server } from '../management/server.js'"],
  [upwardImports, 'other/a.ts', ''],
  [upwardImports, 'other.ts', ''],
  [worldlyImports, 'broker/a.ts', "import { readFile } from 'node:fs/promises'"],
  [worldlyImports, 'broker/a.ts', "import net from 'node:net'"],
  [worldlyImports, 'broker/a.ts', "import * as timers from 'node:timers'"],
  [worldlyImports, 'broker/a.ts', "import { hash, randomBytes } from 'node:crypto'"],
  [worldlyImports, 'broker/a.ts', "import 'node:http'"],
  [worldlyImports, 'broker/a.ts', "import pino from 'pino'"],
  [worldlyImports, 'management/a.ts', "import http from 'node:http'"],
  [worldlyGlobals, 'broker/a.ts', 'const now = Date.now()'],
  [worldlyGlobals, 'broker/a.ts', 'const now = new Date()'],
  [worldlyGlobals, 'node/a.ts', 'setTimeout(task, 5)'],
  [worldlyGlobals, 'broker/a.ts', 'globalThis.setImmediate(task)'],
  [worldlyGlobals, 'broker/a.ts', 'const text = `at $' + '{performance.now()}`'],
  [worldlyGlobals, 'broker/a.ts', "f('//', Math.random())"],
  [worldlyGlobals, 'platform/a.ts', 'process.exit(1)'],
  [worldlyGlobals, 'index.ts', 'process.env'],
  [cycles, 'wire/a.ts', "import { a } from './a.js'"],
  [cycles, 'wire/a.ts', "import { type A } from './a.js'"],
  [vaguelyNamed, 'wire/utils.ts', ''],
  [vaguelyNamed, 'wire/queue-manager.ts', ''],
  [tooLong, 'wire/a.ts', '\n'.repeat(501)],
]

/** Sources that break no rule, though they look like it. */
const sound: readonly [path: string, text: string][] = [
  ['broker/queues/a.ts', "import { find } from '../../wire/codec.js'"],
  [
    'broker/a.ts',
    "import type { Socket } from 'node:net'\nimport { type Clock } from './clock.js'",
  ],
  ['broker/a.ts', '// Date.now() is not for us\n/* process.exit */ const x = "setTimeout(f)"'],
  ['broker/a.ts', 'this.process(); this.#process(); const preprocess = { process: 1 }'],
  ['broker/a.ts', 'new Date(ms)'],
  ['main.ts', "import { a } from './node/a.js'\nprocess.exit(1)"],
  ['wire/a.ts', '\n'.repeat(500)],
]

t.test('each rule sees what breaks it', async t => {
  for (const [rule, path, text] of broken)
    t.equal(rule([{ path, text }]).length, 1, `${rule.name}: ${path}: ${text.trim()}`)
  const circle = ['a', 'b', 'c'].map((name, i, all) => ({
    path: `wire/${name}.ts`,
    text: `import { x } from './${all[(i + 1) % 3]}.js'`,
  }))
  t.same(cycles(circle), ['wire/a.ts > wire/b.ts > wire/c.ts > wire/a.ts'])
})

t.test('no rule sees what does not break it', async t => {
  const rules = [upwardImports, worldlyImports, worldlyGlobals, cycles, vaguelyNamed, tooLong]
  for (const [path, text] of sound)
    for (const rule of rules) t.same(rule([{ path, text }]), [], `${rule.name}: ${path}`)
})
