/**
 * The settings of one node. A flag wins over the environment, the environment over the file,
 * the file over the default; what is wrong anywhere is reported at once.
 */
import { readFile as readFileOfSystem } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type Command, parseCommandLine } from './command-line.js'
import { SettingsDraft, unknownAmong } from './settings-draft.js'
import { giveFile } from './settings-file.js'
import { defaultSettings, type Settings, settingRows, variableOf } from './settings-table.js'

/** Where settings are read from; each has the running process's own as default. */
export interface SettingsSources {
  /** Arguments after the program's name. */
  readonly argv?: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Read if no other is named; it need not exist. */
  readonly defaultFile?: string
  readonly readFile?: (file: string) => Promise<string>
}

/** What was read. With `help` and `version` nothing was: the settings are the defaults. */
export interface SettingsRead {
  readonly settings: Settings
  /** The file that was read, if one was. */
  readonly origin: string | null
  readonly command: Command
}

/** Reads the settings of a process; throws a SettingsError. */
export async function readSettings({
  argv = process.argv.slice(2),
  env = process.env,
  defaultFile = fileURLToPath(new URL('../../../config/leveret.yaml', import.meta.url)),
  readFile = file => readFileOfSystem(file, 'utf8'),
}: SettingsSources = {}): Promise<SettingsRead> {
  const { command, configFile, given, problems } = parseCommandLine(argv)
  if (command === 'help' || command === 'version') {
    return { settings: defaultSettings, origin: null, command }
  }
  const draft = new SettingsDraft()
  const named = configFile ?? (env[fileVariable] || undefined)
  const file = named ?? defaultFile
  const source = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (named || error.code !== 'ENOENT') {
      draft.problems.push(`${file}: cannot be read (${error.message})`)
    }
    return null
  })
  if (source !== null) await giveFile(draft, file, source)
  giveEnvironment(draft, env)
  draft.problems.push(...problems)
  for (const { at, name, value } of given) draft.give(at, name, value)
  return { settings: draft.finish(), origin: source === null ? null : file, command }
}

/** The settings of an embedded broker: defaults but for what is given by dotted name. */
export function settingsFrom(partial: Readonly<Record<string, unknown>>): Settings {
  const draft = new SettingsDraft()
  for (const [name, value] of Object.entries(partial)) {
    if (value !== undefined) draft.give('settings', name, value)
  }
  return draft.finish()
}

const fileVariable = 'LEVERET_CONFIG'

// An empty variable counts as unset: container tools pass unset ones on so.
function giveEnvironment(draft: SettingsDraft, env: NonNullable<SettingsSources['env']>): void {
  for (const [variable, value] of Object.entries(env)) {
    if (!value || !variable.startsWith('LEVERET_') || variable === fileVariable) continue
    const name = settingOf.get(variable)
    if (name) draft.give(`environment ${variable}`, name, value)
    else if (!isServiceLink(variable, value)) {
      const known = [...settingOf.keys(), fileVariable]
      draft.problems.push(`environment ${variable}: ${unknownAmong(known, variable)}`)
    }
  }
}

const settingOf = new Map(settingRows.map(([name]) => [variableOf(name), name]))

// Kubernetes describes a service called leveret to every pod: LEVERET_SERVICE_HOST=10.0.0.1,
// LEVERET_PORT=tcp://10.0.0.1:5672, LEVERET_PORT_5672_TCP_PORT=5672.
function isServiceLink(variable: string, value: string): boolean {
  return /_SERVICE_(HOST|PORT)|_PORT_\d+_/.test(variable) || /^(tcp|udp|sctp):\/\//.test(value)
}
