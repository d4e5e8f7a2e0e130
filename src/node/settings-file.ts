/**
 * The settings file, read and written: config/leveret.yaml is `settingsText` of the defaults.
 * Names may be nested or dotted. The package `yaml` is loaded only when a file is read.
 */
import type { Node, YAMLMap } from 'yaml'
import { brief, type SettingsDraft, settingNames, unknownAmong } from './settings-draft.js'
import {
  defaultSettings,
  isSettingName,
  type Settings,
  settingRows,
  variableOf,
} from './settings-table.js'

/** Gives a draft what the text of a file says. */
export async function giveFile(draft: SettingsDraft, file: string, source: string): Promise<void> {
  // The shipped file as it is says nothing new: parsing it would cost 50 ms and 7 MiB.
  if (source === settingsText(defaultSettings, 'shown')) return
  const { isAlias, isMap, isScalar, LineCounter, parseDocument } = await import('yaml')
  const lineCounter = new LineCounter()
  // Our own walk reports duplicates: only it sees that one is nested and the other dotted.
  const document = parseDocument(source, { lineCounter, prettyErrors: false, uniqueKeys: false })
  const place = (offset = 0): string => {
    const { line, col } = lineCounter.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const problem = (at: string, message: string): void => {
    draft.problems.push(`${at}: ${message}`)
  }

  const given = new Set<string>()
  function walk(map: YAMLMap<Node, Node | null>, prefix: string): void {
    const groups = new Set<string>()
    for (const { key, value } of map.items) {
      const name = prefix + (isScalar(key) ? String(key.value) : String(key))
      const at = place(key.range?.[0])
      const seen = isSettingName(name) ? given : groups
      if (seen.has(name)) {
        problem(at, `${name}: given twice`)
        continue
      }
      seen.add(name)
      if (isSettingName(name)) {
        try {
          draft.give(place((value ?? key).range?.[0]), name, value?.toJS(document) ?? null)
        } catch (error) {
          problem(at, `${name}: ${(error as Error).message}`) // an alias without anchor, or too many
        }
      } else if (groupNames.has(name)) {
        const group = isAlias(value) ? value.resolve(document) : value
        if (isMap<Node, Node | null>(group)) walk(group, `${name}.`)
        else if (!isScalar(group) || group.value !== null) {
          const got = brief(String(value))
          problem(at, `${name}: must be a group (got ${got}, allowed names with values)`)
        }
      } else problem(at, `${name}: ${unknownAmong([...groupNames, ...settingNames], name)}`)
    }
  }

  for (const { pos, message } of document.errors) problem(place(pos[0]), message)
  if (document.errors.length > 0) return
  const root = document.contents
  if (isMap<Node, Node | null>(root)) walk(root, '')
  else if (root !== null) problem(place(root.range?.[0]), 'must be names with values')
}

/** The settings as a file that explains itself. */
export function settingsText(settings: Settings, secrets: 'shown' | 'redacted'): string {
  const lines = [
    '# The settings of Leveret: what each does, what is allowed, its flag and its environment',
    '# variable. A flag wins over the environment, the environment over this file. Names may be',
    '# nested, as here, or dotted: `log.level: debug`. Sizes may be written 16MiB, durations 30s.',
  ]
  let open: readonly string[] = []
  for (const [name, { kind, sentence, flag, secret }] of settingRows) {
    const path = name.split('.')
    const shared = path.findIndex((part, depth) => part !== open[depth])
    if (shared === 0) lines.push('')
    for (let depth = shared; depth < path.length - 1; depth++) {
      lines.push(`${'  '.repeat(depth)}${path[depth]}:`)
    }
    const indent = '  '.repeat(path.length - 1)
    const ways = [kind.allowed, ...(flag ? [`--${flag.name}`] : []), variableOf(name)]
    const value = secret && secrets === 'redacted' ? '"***"' : kind.write(settings[name])
    const unset = settings[name] === null ? '# ' : ''
    lines.push(`${indent}# ${sentence}`, `${indent}# (${ways.join(' | ')})`)
    lines.push(`${indent}${unset}${path.at(-1)}: ${unset ? '' : value}`.trimEnd())
    open = path
  }
  return `${lines.join('\n')}\n`
}

const groupNames = new Set(
  settingNames.flatMap(name => {
    const path = name.split('.')
    return path.slice(1).map((_, depth) => path.slice(0, depth + 1).join('.'))
  }),
)
