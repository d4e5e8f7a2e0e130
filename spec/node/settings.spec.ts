/** Settings from every origin: what is understood, what wins, and how refusals read. */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parse } from 'yaml'
import { helpText } from '../../src/node/command-line.js'
import { readSettings, settingsFrom } from '../../src/node/settings.js'
import { SettingsError } from '../../src/node/settings-draft.js'
import { settingsText } from '../../src/node/settings-file.js'
import {
  defaultSettings,
  type SettingName,
  settingRows,
  settingsTable,
  variableOf,
} from '../../src/node/settings-table.js'

interface World {
  argv?: string[]
  env?: Record<string, string>
  file?: string
}

const missing = Object.assign(new Error('no such file'), { code: 'ENOENT' })

function read({ argv = [], env = {}, file }: World) {
  const readFile = async () => file ?? Promise.reject(missing)
  return readSettings({ argv, env, defaultFile: 'leveret.yaml', readFile })
}

async function problems(world: World): Promise<readonly string[]> {
  try {
    await read(world)
  } catch (error) {
    if (error instanceof SettingsError) return error.problems
    throw error
  }
  return []
}

const understood: [SettingName, given: unknown, meant: unknown][] = [
  ['listeners.tcp.default', 0, [{ host: null, port: 0 }]],
  ['listeners.tcp.default', '65535', [{ host: null, port: 65535 }]],
  [
    'listeners.tcp.default',
    '5672, 127.0.0.1:5673,[::1]:5674',
    [
      { host: null, port: 5672 },
      { host: '127.0.0.1', port: 5673 },
      { host: '::1', port: 5674 },
    ],
  ],
  [
    'listeners.tcp.default',
    [5672, 'a.example:1'],
    [
      { host: null, port: 5672 },
      { host: 'a.example', port: 1 },
    ],
  ],
  ['listeners.ssl.default', 'none', []],
  ['proxy_protocol_trusted_sources', '10.0.0.1, ::1/128', ['10.0.0.1', '::1/128']],
  ['proxy_protocol_trusted_sources', 'none', []],
  ['anonymous_login_user', 'none', null],
  ['anonymous_login_user', 'guest', 'guest'],
  ['heartbeat', 65535, 65535],
  ['frame_max', 2 ** 31, 2 ** 31],
  ['tcp_listen_options.nodelay', false, false],
  ['tcp_listen_options.nodelay', 'true', true],
  ['max_message_size', 1, 1],
  ['max_message_size', '16MiB', 16 * 1024 ** 2],
  ['max_message_size', '16 MB', 16e6],
  ['max_message_size', '16M', 16 * 1024 ** 2],
  ['max_message_size', '4096b', 4096],
  ['vm_memory_high_watermark.absolute', '2gb', 2e9],
  ['vm_memory_high_watermark.absolute', null, null],
  ['vm_memory_high_watermark.relative', '0.25', 0.25],
  ['disk_free_limit.absolute', '50MB', 50e6],
  ['disk_free_limit.relative', '1.5', 1.5],
  ['handshake_timeout', 250, 250],
  ['handshake_timeout', '250ms', 250],
  ['handshake_timeout', '30s', 30_000],
  ['handshake_timeout', '5m', 300_000],
  ['handshake_timeout', '1h', 3_600_000],
  ['max_connections', 'infinity', Infinity],
  ['max_connections', Infinity, Infinity],
  ['max_connections', 10, 10],
  ['auth_mechanisms', ['AMQPLAIN'], ['AMQPLAIN']],
  ['auth_mechanisms', 'AMQPLAIN, PLAIN', ['AMQPLAIN', 'PLAIN']],
  ['loopback_users', 'none', []],
  ['loopback_users', [], []],
  ['loopback_users', 'guest', ['guest']],
  ['default_user', 'hare', 'hare'],
  ['cluster_name', '', ''],
  ['log.level', 'none', 'none'],
]

const refused: [SettingName, given: unknown][] = [
  ['listeners.tcp.default', 65536],
  ['listeners.tcp.default', -1],
  ['listeners.tcp.default', 5672.5],
  ['listeners.tcp.default', ''],
  ['listeners.tcp.default', null],
  ['listeners.tcp.default', []],
  ['listeners.tcp.default', '::1:5672'],
  ['listeners.tcp.default', '127.0.0.1:65536'],
  ['listeners.tcp.default', 'host'],
  ['proxy_protocol_trusted_sources', 'localhost'],
  ['proxy_protocol_trusted_sources', '10.0.0.0/33'],
  ['proxy_protocol_trusted_sources', '10.0.0.0/8/8'],
  ['heartbeat', '60s'],
  ['heartbeat', '0x10'],
  ['frame_max', 4095],
  ['frame_max', 2 ** 31 + 1],
  ['tcp_listen_options.nodelay', 'yes'],
  ['tcp_listen_options.nodelay', 1],
  ['max_message_size', '513MiB'],
  ['max_message_size', '1.5MiB'],
  ['max_message_size', 'MiB'],
  ['vm_memory_high_watermark.relative', 1.1],
  ['vm_memory_high_watermark.relative', '0.1.2'],
  ['disk_free_limit.relative', 1001],
  ['disk_free_limit.relative', 'much'],
  ['handshake_timeout', 0],
  ['handshake_timeout', '30 days'],
  ['handshake_timeout', '597h'],
  ['max_connections', 0],
  ['auth_mechanisms', ['SCRAM-SHA-256']],
  ['auth_mechanisms', 'none'],
  ['loopback_users', ['']],
  ['loopback_users', { guest: false }],
  ['default_user', ''],
  ['default_user', 123],
  ['log.level', 'loud'],
  ['persistence', 'disk'],
]

t.test('each kind understands what it should and refuses the rest', async t => {
  for (const [name, given, meant] of understood) {
    t.same(settingsFrom({ [name]: given })[name], meant, `${name} ${JSON.stringify(given)}`)
  }
  for (const [name, given] of refused) {
    t.throws(() => settingsFrom({ [name]: given }), SettingsError, `${name} ${String(given)}`)
  }
})

t.test('whatever a kind is given, it gives a value or refuses', async t => {
  const amount = fc.stringMatching(/^\d{1,4} ?([kMG]i?B?|ms|s|m|h)?$/)
  const given = fc.oneof(fc.anything(), fc.string(), fc.nat(), amount, fc.array(fc.string()))
  const rows = fc.constantFrom(...settingRows)
  const holds = fc.property(rows, given, ([, { kind }], given) => {
    const value = kind.read(given)
    return value === undefined || isDeepStrictEqual(kind.read(parse(kind.write(value))), value)
  })
  fc.assert(holds, { numRuns: 500 })
  t.pass('written and read again it is the same value')
})

t.test('without file, environment and flags all is default, and frozen', async t => {
  const { settings, origin, command } = await read({})
  t.same(settings, defaultSettings)
  t.equal(origin, null)
  t.equal(command, 'run')
  t.ok(Object.isFrozen(settings))
  t.ok(Object.isFrozen(settings.loopback_users))
})

t.test('a flag wins over the environment, that over the file, that over the default', async t => {
  const file = 'heartbeat: 10\n'
  const env = { LEVERET_HEARTBEAT: '20' }
  t.equal((await read({})).settings.heartbeat, 60)
  t.equal((await read({ file })).settings.heartbeat, 10)
  t.equal((await read({ file, env })).settings.heartbeat, 20)
  t.equal((await read({ file, env, argv: ['--set', 'heartbeat=30'] })).settings.heartbeat, 30)
  const twice = ['--port', '1', '--set', 'listeners.tcp.default=2']
  t.same(
    (await read({ argv: twice })).settings['listeners.tcp.default'],
    [{ host: null, port: 2 }],
    'the last flag wins',
  )
})

t.test('names in a file are nested, dotted, or half of each', async t => {
  for (const file of [
    'log: {console: {formatter: json}}',
    'log.console.formatter: json',
    'log:\n  console.formatter: json',
    'log.console: &same {formatter: json}\nproduct:',
  ]) {
    const { settings, origin } = await read({ file })
    t.equal(settings['log.console.formatter'], 'json', file)
    t.equal(origin, 'leveret.yaml')
  }
  t.same((await read({ file: '# nothing\n' })).settings, defaultSettings)
})

t.test('each setting has a variable, an empty one counts for nothing', async t => {
  const env = Object.fromEntries(
    settingRows
      .filter(([, { default: value }]) => value !== null)
      .map(([name, { kind, default: value }]) => [variableOf(name), parse(kind.write(value))])
      .map(([variable, value]) => [variable, String(value)]),
  )
  t.same((await read({ env })).settings, defaultSettings)
  t.equal(variableOf('listeners.tcp.default'), 'LEVERET_LISTENERS__TCP__DEFAULT')
  t.same(
    (await read({ env: { LEVERET_DEFAULT_USER: '', HEARTBEAT: 'x' } })).settings,
    defaultSettings,
  )
})

t.test('what Kubernetes tells about a service called leveret is no setting', async t => {
  const env = {
    LEVERET_SERVICE_HOST: '10.0.0.1',
    LEVERET_SERVICE_PORT_AMQP: '5672',
    LEVERET_PORT: 'tcp://10.0.0.1:5672',
    LEVERET_PORT_5672_TCP: 'tcp://10.0.0.1:5672',
    LEVERET_PORT_5672_TCP_ADDR: '10.0.0.1',
    LEVERET_MANAGEMENT_PORT: 'tcp://10.0.0.2:15672',
  }
  t.same((await read({ env })).settings, defaultSettings)
})

t.test('each flag gives its setting', async t => {
  const argv = ['--host', '127.0.0.1', '--port=0', '--data', '/d', '--memory', '--json']
  argv.push('--management-port', '1', '--metrics-port', '2', '--log-level', 'error')
  argv.push('--set', 'cluster_name=a=b', '--set', 'cluster_name=')
  const { settings } = await read({ argv })
  t.match(settings, {
    'listeners.tcp.ip': '127.0.0.1',
    'listeners.tcp.default': [{ host: null, port: 0 }],
    data_dir: '/d',
    persistence: 'memory',
    'log.console.formatter': 'json',
    'management.tcp.port': 1,
    'prometheus.tcp.port': 2,
    'log.level': 'error',
    cluster_name: '',
  })
})

t.test('the file is named by flag, else by variable, else it may be absent', async t => {
  const readFile = async (file: string) =>
    file.startsWith('/etc/') ? `cluster_name: ${file}` : Promise.reject(missing)
  const name = async (argv: string[], env = {}) => {
    const { settings, origin } = await readSettings({ argv, env, defaultFile: 'x', readFile })
    t.equal(settings.cluster_name, origin ?? '')
    return origin
  }
  t.equal(await name(['--config', '/etc/a'], { LEVERET_CONFIG: '/etc/b' }), '/etc/a')
  t.equal(await name([], { LEVERET_CONFIG: '/etc/b' }), '/etc/b')
  t.equal(await name([]), null)
  t.same(await problems({ argv: ['--config', 'b.yaml'] }), [
    'b.yaml: cannot be read (no such file)',
  ])
})

t.test('the command needs nothing else to be right if it is help or version', async t => {
  const env = { LEVERET_HEARTBEAT: 'x' }
  t.equal((await read({ argv: ['--nonsense', '--version', '--help'], env })).command, 'help')
  t.equal((await read({ argv: ['--version'], env, file: '[' })).command, 'version')
  t.equal((await read({ argv: ['--print-config'] })).command, 'print-config')
  t.equal((await read({ argv: ['--check-config'] })).command, 'check-config')
  t.same(await problems({ argv: ['--check-config'], env }), [
    "environment LEVERET_HEARTBEAT: heartbeat: must be an integer (got 'x', allowed 0–65535 s)",
  ])
})

t.test('all problems come at once, each with its place', async t => {
  const file = `
hearbeat: 10
log:
  level: loud
  levle: info
log.level: info
tcp_listen_options: 5
heartbeat: 5
heartbeat: 6
listners: {tcp: {default: 1}}
frame_max: *none
channel_max:
`
  const env = { LEVERET_LOG_LEVEL: 'info', LEVERET_FRAME_MAX: '1' }
  const argv = ['--prot', '1', '--port', '--json', '--memory=no', '--set', 'x', '--set', 'y=1']
  argv.push('--set', 'log.levle=info', '--log-level', 'loud')
  t.same(await problems({ file, env, argv }), [
    "leveret.yaml:2:1: hearbeat: unknown, did you mean 'heartbeat'?",
    "leveret.yaml:4:10: log.level: must be a known word (got 'loud', allowed debug, info, warning, error, none)",
    "leveret.yaml:5:3: log.levle: unknown, did you mean 'log.level'?",
    'leveret.yaml:6:1: log.level: given twice',
    "leveret.yaml:7:1: tcp_listen_options: must be a group (got '5', allowed names with values)",
    'leveret.yaml:9:1: heartbeat: given twice',
    "leveret.yaml:10:1: listners: unknown, did you mean 'listeners'?",
    'leveret.yaml:11:1: frame_max: Unresolved alias (the anchor must be set before the alias): none',
    'leveret.yaml:12:13: channel_max: must be an integer (got null, allowed 1–65535)',
    "environment LEVERET_LOG_LEVEL: unknown, did you mean 'LEVERET_LOG__LEVEL'?",
    "environment LEVERET_FRAME_MAX: frame_max: must be an integer (got '1', allowed 4096–2147483648 bytes)",
    "--prot: unknown, did you mean '--port'?",
    '1: must be a flag; see --help',
    '--port: needs a value: --port PORT',
    "--memory: takes no value (got 'no')",
    '--set: must be NAME=VALUE',
    '--set: y: unknown',
    "--set: log.levle: unknown, did you mean 'log.level'?",
    "--log-level: log.level: must be a known word (got 'loud', allowed debug, info, warning, error, none)",
  ])
})

t.test('a file that is not YAML, or not names with values, is refused by place', async t => {
  const [broken] = await problems({ file: 'log:\n  level: [info\nheartbeat: 1\n' })
  t.match(broken, /^leveret\.yaml:\d+:\d+: \S/)
  t.same(await problems({ file: '- heartbeat\n' }), ['leveret.yaml:1:1: must be names with values'])
})

t.test('the place is exact wherever the name stands', async t => {
  const spaces = fc.nat({ max: 9 }).map(count => ' '.repeat(count))
  const holds = fc.asyncProperty(fc.nat({ max: 9 }), spaces, async (lines, space) => {
    const file = `${'# é\n'.repeat(lines)}heartbeat: ${space}many\n`
    const [problem] = await problems({ file })
    return problem!.startsWith(`leveret.yaml:${lines + 1}:${12 + space.length}: heartbeat: `)
  })
  await fc.assert(holds)
  t.pass()
})

t.test('a name with one wrong letter is answered with the right one', async t => {
  const names = fc.constantFrom(...settingRows.map(([name]) => name))
  const holds = fc.property(names, fc.nat(), (name, seed) => {
    const at = seed % name.length
    const wrong = `${name.slice(0, at)}§${name.slice(at + 1)}`
    t.throws(() => settingsFrom({ [wrong]: 1 }), {
      message: `settings: ${wrong}: unknown, did you mean '${name}'?`,
    })
  })
  fc.assert(holds, { numRuns: 50 })
})

t.test('an embedded broker gives settings by dotted name', async t => {
  t.same(settingsFrom({}), defaultSettings)
  t.equal(settingsFrom({ heartbeat: 10, frame_max: undefined }).heartbeat, 10)
  for (const name of ['constructor', '__proto__', 'toString']) {
    t.throws(() => settingsFrom(JSON.parse(`{"${name}": 1}`)), SettingsError, name)
  }
  t.throws(() => settingsFrom({ hartbeat: 1, heartbeat: 70_000 }), {
    message:
      "settings: hartbeat: unknown, did you mean 'heartbeat'?\n" +
      'settings: heartbeat: must be an integer (got 70000, allowed 0–65535 s)',
  })
})

t.test('help shows each flag and each setting', async t => {
  const help = helpText()
  for (const [name, { flag, sentence }] of settingRows) {
    t.match(help, `  ${name} `)
    t.match(help, sentence)
    if (flag) t.match(help, `  --${flag.name} `)
  }
  for (const own of ['config', 'set', 'check-config', 'print-config', 'version', 'help']) {
    t.match(help, `  --${own} `)
  }
})

t.test('secrets are shown neither in the settings in effect nor in a problem', async t => {
  const secret = settingsFrom({ default_pass: 'carrot' })
  t.notMatch(settingsText(secret, 'redacted'), 'carrot')
  t.match(settingsText(secret, 'redacted'), 'default_pass: "***"')
  const said = await problems({ file: 'default_pass: 4711\n' })
  t.match(said, [/^leveret\.yaml:1:15: default_pass: must be text/])
  t.notMatch(said.join(), '4711')
})

t.test('the settings in effect can be read back as a file', async t => {
  const texts = fc.string({ unit: 'binary', minLength: 1 })
  const holds = fc.asyncProperty(texts, fc.array(texts), async (text, users) => {
    const settings = settingsFrom({
      default_pass: text,
      loopback_users: users,
      max_message_size: '5MB',
      handshake_timeout: '90s',
      'vm_memory_high_watermark.absolute': '1GiB',
    })
    t.same((await read({ file: settingsText(settings, 'shown') })).settings, settings)
  })
  await fc.assert(holds, { numRuns: 20 })
})

t.test('config/leveret.yaml is the table', async t => {
  const file = readFileSync(new URL('../../../config/leveret.yaml', import.meta.url), 'utf8')
  t.equal(file, settingsText(defaultSettings, 'shown'), 'npm run build, then write settingsText')
  t.same((await read({ file })).settings, defaultSettings)
  const given = parse(file)
  for (const [name, { sentence }] of settingRows) {
    t.match(file, `# ${sentence}\n`)
    const value = name.split('.').reduce((group, part) => group?.[part], given)
    const { kind } = settingsTable[name]
    if (defaultSettings[name] !== null) t.same(kind.read(value), defaultSettings[name], name)
  }
  const own = await readSettings({ argv: [], env: {} })
  t.match(own.origin, /config.leveret\.yaml$/, 'it is the one read if none is named')
})
