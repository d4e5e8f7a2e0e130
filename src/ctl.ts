#!/usr/bin/env node
/** The program `leveretctl`: looks into the data folder of a broker that does not run. */
import { parseArgs } from 'node:util'
import { FolderRefused } from './node/folder-format.js'
import { FolderInUse } from './node/folder-lock.js'
import { RecordPrinter } from './node/log-dump.js'
import { inspectFolder } from './node/log-inspection.js'
import { figuresOf, isSound, statsLines, verifyLines } from './node/log-report.js'
import { LogFigures } from './node/log-stats.js'
import { QueueNames } from './node/queue-names.js'
import { readSettings } from './node/settings.js'
import { SettingsError } from './node/settings-draft.js'
import { version } from './node/version.js'
import { NewerFormat } from './store/segment.js'

const usage = `leveretctl: looks into the data folder of a broker that does not run

Usage: leveretctl log verify [FLAG]...   reads everything and says what is damaged
       leveretctl log stats [FLAG]...    says what is there, by kind and by queue
       leveretctl log dump [FLAG]...     prints every record as a line of JSON

  --data-dir DIR  The folder; else that of the settings (LEVERET_DATA_DIR, config/leveret.yaml).
  --config FILE   Settings file; else config/leveret.yaml is read.
  --json          Prints one JSON object (verify, stats).
  --bodies        Prints contents whole, not only how they begin (dump).
  --version       Prints the version and ends.
  --help          Prints this and ends.

Exit codes: 0 good, 1 damaged, 64 wrong usage, 69 the folder cannot be read or is in use, 78 wrong
settings.
`

const exitDamaged = 1
const exitUsage = 64
const exitUnavailable = 69
const exitConfiguration = 78

/** Lines gather to so many characters before they are written. */
const gatherCharacters = 64 * 1024

interface Flags {
  readonly json: boolean
  readonly bodies: boolean
}

/** The commands; each resolves with the exit code. */
const commands: Readonly<Record<string, (folder: string, flags: Flags) => Promise<number>>> = {
  verify,
  stats,
  dump,
}

async function verify(folder: string, { json }: Flags): Promise<number> {
  const names = new QueueNames()
  const found = await inspectFolder(folder, log => {
    const figures = new LogFigures(names)
    return log === 'definitions' ? (bytes, start) => figures.count(bytes, start) : () => {}
  })
  const sound = isSound(found)
  print(json ? [JSON.stringify({ sound, ...found })] : verifyLines(found, names))
  return sound ? 0 : exitDamaged
}

async function stats(folder: string, { json }: Flags): Promise<number> {
  const names = new QueueNames()
  const figures: LogFigures[] = []
  const found = await inspectFolder(folder, () => {
    const log = new LogFigures(names)
    figures.push(log)
    return (bytes, start) => log.count(bytes, start)
  })
  const queues = figures.flatMap(log => log.queues())
  if (!json) print(statsLines(found, figures, queues, names))
  else {
    const logs = found.logs.map((log, i) => {
      const { records, left } = figuresOf(log, figures[i] as LogFigures)
      return { ...log, ...left, records: Object.fromEntries(records) }
    })
    print([JSON.stringify({ ...found, logs, queues })])
  }
  return 0
}

async function dump(folder: string, { bodies }: Flags): Promise<number> {
  const printer = new RecordPrinter(new QueueNames(), bodies)
  let lines: string[] = []
  let gathered = 0
  const found = await inspectFolder(folder, log => (bytes, start, segment, offset) => {
    const line = JSON.stringify({ log, ...printer.print(bytes, start, segment, offset) })
    lines.push(line)
    gathered += line.length
    if (gathered < gatherCharacters) return
    print(lines)
    lines = []
    gathered = 0
  })
  print(lines)
  return isSound(found) ? 0 : exitDamaged
}

/** Pipes and files take it at once: a reader that is slow holds up the reading, and fills no memory. */
function print(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
}

/** The command line is not understood. */
class UsageError extends Error {}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'data-dir': { type: 'string' },
      config: { type: 'string' },
      json: { type: 'boolean', default: false },
      bodies: { type: 'boolean', default: false },
      version: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const { 'data-dir': folder, config, json, bodies } = values
  const [group, name = '', ...rest] = positionals
  if (values.help || values.version) {
    process.stdout.write(values.help ? usage : `${version}\n`)
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (group !== 'log' || command === undefined || rest.length > 0)
    throw new UsageError(`there is no command '${positionals.join(' ')}'`)
  if (folder !== undefined) return command(folder, { json, bodies })
  const argv = config === undefined ? [] : ['--config', config]
  const { settings } = await readSettings({ argv })
  return command(settings.data_dir, { json, bodies })
}

/** Says what ended the program; returns the exit code for it. */
function failed(error: NodeJS.ErrnoException): number {
  const { code = '', message, stack } = error
  if (error instanceof UsageError || code.startsWith('ERR_PARSE_ARGS')) {
    process.stderr.write(`${message}\nSee leveretctl --help\n`)
    return exitUsage
  }
  const wrongSettings = error instanceof SettingsError
  const known =
    wrongSettings ||
    error instanceof FolderInUse ||
    error instanceof FolderRefused ||
    error instanceof NewerFormat
  process.stderr.write(`${known || code !== '' ? message : stack}\n`)
  return wrongSettings ? exitConfiguration : exitUnavailable
}

// Nobody reads any more: `leveretctl log dump | head`.
process.stdout.on('error', () => process.exit(0))
process.exitCode = await main().catch(failed)
