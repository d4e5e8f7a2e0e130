/** The log: pino, as JSON or as lines for people that look like RabbitMQ's. */
import { type DestinationStream, pino } from 'pino'
import { SystemClock } from '../platform/clock.js'
import type { Logger } from '../platform/log.js'
import type { Settings } from './settings-table.js'

/** pino's names of our levels. */
const levels = { debug: 'debug', info: 'info', warning: 'warn', error: 'error', none: 'silent' }

/** JSON lines gather for so long, or to so many bytes, before they are written: a busy broker logs four for each connection. */
const gatherMs = 100
const gatherBytes = 16 * 1024

/** With so many bytes not written, further lines are dropped: nobody reads the log as fast as we write it. */
const unwrittenBytes = 16 * 1024 * 1024

/** Makes the log that the settings ask for; lines go to standard output, the last ones when the process exits. */
export function createLogger(settings: Settings, isTerminal: boolean): Logger {
  const formatter = settings['log.console.formatter']
  const readable = formatter === 'plaintext' || (formatter === 'auto' && isTerminal)
  const options = {
    level: levels[settings['log.level']],
    base: null,
    timestamp: timestamps(),
    formatters: { level: (label: string) => ({ level: label === 'warn' ? 'warning' : label }) },
  }
  if (readable) {
    process.stdout.on('error', () => {})
    return pino(options, readableLines)
  }
  return pino(options, gatheredLines())
}

/**
 * Gathers lines in front of pino's own buffer, which goes through all that it holds with every line
 * that it is given.
 */
function gatheredLines(): DestinationStream {
  const output = pino.destination({
    dest: 1,
    sync: false,
    maxLength: unwrittenBytes,
    periodicFlush: gatherMs,
  })
  let gathered = ''
  const flush = () => {
    if (gathered !== '') output.write(gathered)
    gathered = ''
  }
  // This is what it calls periodically.
  output.flush = flush
  // A log that cannot be written must not stop the broker: what comes after an error is lost.
  output.on('error', () => {
    output.write = () => true
    output.flushSync = () => {}
  })
  process.on('exit', () => {
    output.flushSync()
    // Given to `output` they would be on their way when the process is gone.
    if (gathered === '') return
    const last = pino.destination({ dest: 1, sync: true })
    last.on('error', () => {})
    last.write(gathered)
  })
  return {
    write(line: string): void {
      gathered += line
      if (gathered.length >= gatherBytes) flush()
    },
  }
}

/** The moment of a line, as pino wants it; all but its milliseconds is made once a second. */
function timestamps(): () => string {
  const clock = new SystemClock()
  let second = -1
  let begin = ''
  return () => {
    const now = clock.wallMs()
    const ms = now % 1000
    if (now - ms !== second) {
      second = now - ms
      begin = `,"time":"${new Date(now).toISOString().slice(0, 20)}`
    }
    return `${begin}${ms < 100 ? `${ms}`.padStart(3, '0') : ms}Z"`
  }
}

interface Line {
  readonly time: string
  readonly level: string
  readonly msg: string
  readonly err?: { readonly stack?: string }
}

/** `2026-11-22 06:32:31.848 [info] message`, with the stack of an error behind it. */
const readableLines: DestinationStream = {
  write(json: string): void {
    const { time, level, msg, err } = JSON.parse(json) as Line
    const stack = err?.stack === undefined ? '' : `\n${err.stack}`
    process.stdout.write(`${time.replace('T', ' ').replace('Z', '')} [${level}] ${msg}${stack}\n`)
  },
}
