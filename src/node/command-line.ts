/**
 * The command line of `leveret`: the flags of settings-table.ts and a few of its own.
 */
import { parseArgs } from 'node:util'
import { unknownAmong } from './settings-draft.js'
import { type Flag, settingRows } from './settings-table.js'

/** What `leveret` is asked to do. */
export type Command = 'run' | 'help' | 'version' | 'print-config' | 'check-config'

/** What a command line says; its settings are not checked yet. */
export interface CommandLine {
  readonly command: Command
  readonly configFile: string | undefined
  readonly given: readonly { readonly at: string; readonly name: string; readonly value: string }[]
  readonly problems: readonly string[]
}

/** Flags that are not one setting, with what they take and say. */
const ownFlags: readonly (Flag & { readonly sentence: string })[] = [
  { name: 'config', takes: 'FILE', sentence: 'Settings file; else config/leveret.yaml is read.' },
  { name: 'set', takes: 'NAME=VALUE', sentence: 'Gives any setting by its name; repeatable.' },
  { name: 'check-config', sentence: 'Checks the settings and ends: 0 if good, 78 if not.' },
  { name: 'print-config', sentence: 'Prints the settings in effect, without secrets, and ends.' },
  { name: 'version', sentence: 'Prints the version and ends.' },
  { name: 'help', sentence: 'Prints this and ends.' },
]

const settingFlags = settingRows.flatMap(([setting, { flag, sentence }]) =>
  flag
    ? [{ ...flag, setting, sentence: flag.takes ? sentence : `Same as ${setting}=${flag.means}.` }]
    : [],
)

const flags = new Map<string, Flag & { sentence: string; setting?: string }>(
  [...settingFlags, ...ownFlags].map(flag => [flag.name, flag]),
)

const flagNames = [...flags.keys()].map(name => `--${name}`)

// The one that needs nothing else to be right comes first.
const commands = ['help', 'version', 'check-config', 'print-config'] as const

/** Takes a command line apart; what is wrong with it is among the problems. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  // Not strict, and read by token: parseArgs itself would stop at the first problem.
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries(
      [...flags].map(([name, { takes }]) => [name, { type: takes ? 'string' : 'boolean' }]),
    ),
  })
  const asked = new Set<string>()
  const given: { at: string; name: string; value: string }[] = []
  const problems: string[] = []
  let configFile: string | undefined
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      problems.push(`${token.value}: must be a flag; see --help`)
      continue
    }
    const { rawName: at, value, inlineValue } = token
    const flag = flags.get(token.name)
    if (flag === undefined) problems.push(`${at}: ${unknownAmong(flagNames, at)}`)
    else if (flag.takes && (!value || (!inlineValue && value.startsWith('--')))) {
      problems.push(`${at}: needs a value: ${at} ${flag.takes}`)
    } else if (!flag.takes && inlineValue) problems.push(`${at}: takes no value (got '${value}')`)
    else if (flag.setting) given.push({ at, name: flag.setting, value: value ?? flag.means! })
    else if (flag.name === 'config') configFile = value
    else if (flag.name === 'set') {
      const [, name, text] = /^([^=]+)=(.*)$/s.exec(value!) ?? []
      if (name === undefined) problems.push(`${at}: must be NAME=VALUE`)
      else given.push({ at, name, value: text! })
    } else asked.add(flag.name)
  }
  const command = commands.find(name => asked.has(name)) ?? 'run'
  return { command, configFile, given, problems }
}

/** What --help prints. */
export function helpText(): string {
  const usage = [...flags.values()].map(flag => [
    `--${flag.name}${flag.takes ? ` ${flag.takes}` : ''}`,
    flag.sentence,
  ])
  const settings = settingRows.map(([name, { kind, default: value, sentence }]) => [
    name,
    value === null ? sentence : `${sentence} [${kind.write(value)}]`,
  ])
  return [
    'leveret: a message broker that speaks AMQP 0-9-1 as RabbitMQ does',
    '',
    'Usage: leveret [FLAG]...',
    '',
    ...columns(usage),
    '',
    'Settings, with their defaults. Each may stand in the settings file, in the environment',
    '(log.level is LEVERET_LOG__LEVEL) or on the command line (--set log.level=debug):',
    '',
    ...columns(settings),
    '',
  ].join('\n')
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left!.length))
  return rows.map(([left, right]) => `  ${left!.padEnd(width)}  ${right}`)
}
