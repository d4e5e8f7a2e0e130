/**
 * `npm run suites -- [NAME...]`: runs the tests that client packages publish against a broker of ours and, with
 * BROKER_URL, against that one too, both at once. A test that fails here is a defect unless it fails there as well.
 * The packages come from their registries at this moment and go with the run: nothing of theirs is in this repository.
 * Those of Python run in the environment whose interpreter CLIENTS_PYTHON names; it needs pytest beside them.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startBroker } from '../../src/index.js'

const { BROKER_URL: rival = '', CLIENTS_PYTHON: python = 'python3' } = process.env
const run = promisify(execFile)
const lots = 256 * 2 ** 20

/** What became of each test, by its name. */
type Results = Map<string, 'passed' | 'failed' | 'skipped'>

interface Suite {
  readonly name: string
  /** Puts the sources under the folder and gives the folder of the package. */
  fetch(folder: string): Promise<string>
  /** Runs the tests against the broker of this port of this machine. */
  test(home: string, port: string): Promise<Results>
}

/** amqplib's own scripts allow a test one second, which a busy machine needs for less. */
const suites: readonly Suite[] = [
  {
    name: 'amqplib 2.2.0', // the last that was published with its tests
    async fetch(folder) {
      await run('npm', ['pack', '--silent', 'amqplib@2.2.0'], { cwd: folder })
      return unpack(folder)
    },
    async test(home, port) {
      const files = ['callback_api', 'channel_api', 'connect', 'recovery']
      const output = await outputOf(
        process.execPath,
        [
          ...['--test', '--test-reporter=tap', '--test-timeout=60000'],
          ...files.map(file => `test/${file}.test.js`),
        ],
        home,
        {
          URL: `amqp://127.0.0.1:${port}`,
          BROKER_PORT: port,
          NODE_OPTIONS: `--import=${new URL('../support/default-port.js', import.meta.url)}`,
        },
      )
      return resultsOfTap(output)
    },
  },
  pythonSuite('amqp', '5.4.2', ['t/integration/test_rmq.py', '-k', 'not tls']),
  pythonSuite('kombu', '5.7.0', ['t/integration/test_py_amqp.py']),
]

/** The integration tests of a package of Celery's, which all take host and port alike. */
function pythonSuite(name: string, version: string, tests: readonly string[]): Suite {
  return {
    name: `${name} ${version}`,
    async fetch(folder) {
      const options = ['--quiet', '--no-deps', '--no-binary', ':all:', `${name}==${version}`]
      await run(python, ['-m', 'pip', 'download', ...options], { cwd: folder })
      return unpack(folder)
    },
    async test(home, port) {
      const options = ['-v', '-p', 'no:cacheprovider', '-o', 'addopts=', ...tests]
      const output = await outputOf(python, ['-m', 'pytest', ...options], home, {
        RABBITMQ_HOST: '127.0.0.1',
        RABBITMQ_5672_TCP: port,
        PYTHONDONTWRITEBYTECODE: '1',
      })
      return resultsOfPytest(output)
    },
  }
}

/** Unpacks the one archive of a folder and gives the folder that was in it. */
async function unpack(folder: string): Promise<string> {
  const [archive = ''] = await readdir(folder)
  await run('tar', ['-xzf', archive], { cwd: folder })
  const [home = ''] = (await readdir(folder)).filter(name => name !== archive)
  return join(folder, home)
}

/** All that a program says, however it ends: a failed test is no failure of the program. */
async function outputOf(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const { NODE_TEST_CONTEXT: _, ...outer } = process.env
  const options = { cwd, env: { ...outer, ...env }, maxBuffer: lots }
  const { stdout } = await run(program, args, options).catch(error => error)
  return stdout ?? ''
}

/** Reads nested TAP of Node's test runner; a suite of tests is not counted beside its tests. */
function resultsOfTap(output: string): Results {
  const results: Results = new Map()
  const path: string[] = []
  const lines = output.split('\n')
  for (const [at, line] of lines.entries()) {
    const [, indent = '', not, name = '', remark] =
      /^( *)(not )?ok \d+ - (.*?)( # (?:SKIP|TODO).*)?$/.exec(line) ?? []
    const subtest = /^( *)# Subtest: (.*)$/.exec(line)
    if (subtest !== null) path.splice((subtest[1] ?? '').length / 4, Infinity, subtest[2] ?? '')
    if (name === '' || lines.slice(at, at + 4).some(next => /^ *type: 'suite'/.test(next))) continue
    const full = [...path.slice(0, indent.length / 4), name].join(' > ')
    add(results, full, not !== undefined ? 'failed' : remark !== undefined ? 'skipped' : 'passed')
  }
  return results
}

/** Reads the lines of `pytest -v`. */
function resultsOfPytest(output: string): Results {
  const results: Results = new Map()
  const words = { PASSED: 'passed', FAILED: 'failed', ERROR: 'failed', SKIPPED: 'skipped' } as const
  for (const [, name = '', word] of output.matchAll(
    /^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)/gm,
  )) {
    add(results, name, words[word as keyof typeof words])
  }
  return results
}

/** Tests of the same name are told apart by their order. */
function add(results: Results, name: string, result: 'passed' | 'failed' | 'skipped'): void {
  let key = name
  for (let n = 2; results.has(key); n += 1) key = `${name} (${n})`
  results.set(key, result)
}

const count = (results: Results, wanted: string) =>
  [...results.values()].filter(result => result === wanted).length

/** Tests that ought to pass here and do not. */
function judge(name: string, ours: Results, theirs: Results | undefined): string[] {
  const told = ({ size }: Results, results: Results) =>
    `${count(results, 'passed')} of ${size} passed, ${count(results, 'skipped')} skipped`
  console.log(`${name}: ${told(ours, ours)}`)
  if (theirs !== undefined) console.log(`  against the other broker: ${told(theirs, theirs)}`)
  const wanted = theirs ?? new Map([...ours].filter(([, result]) => result === 'failed'))
  const missed = [...wanted].filter(([test, result]) => {
    const here = ours.get(test)
    return theirs === undefined || (result === 'passed' && here !== 'passed')
  })
  return missed.map(([test]) => `${name}: ${test}`)
}

const names = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'leveret-suites-'))
const broker = await startBroker()
let passed = 0
const failures: string[] = []
try {
  const chosen = suites.filter(
    ({ name }) => names.length === 0 || names.some(wanted => name.startsWith(wanted)),
  )
  await Promise.all(
    chosen.map(async suite => {
      const place = join(folder, suite.name.replace(' ', '-'))
      await mkdir(place)
      const home = await suite.fetch(place)
      const [ours, theirs] = await Promise.all([
        suite.test(home, String(broker.port)),
        rival === '' ? undefined : suite.test(home, new URL(rival).port || '5672'),
      ])
      const missed = judge(suite.name, ours, theirs)
      if (ours.size === 0) missed.push(`${suite.name}: no test was run`)
      failures.push(...missed)
      passed += count(ours, 'passed')
    }),
  )
} finally {
  await broker.close()
  await rm(folder, { recursive: true, force: true })
}
for (const failure of failures) console.log(`not ok ${failure}`)
console.log(`# { total: ${passed + failures.length}, pass: ${passed}, fail: ${failures.length} }`)
if (failures.length > 0) process.exitCode = 1
