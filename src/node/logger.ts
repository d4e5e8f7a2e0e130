/** The log: pino, as JSON or as lines for people that look like RabbitMQ's. */
import { type DestinationStream, pino } from 'pino'
import type { Logger } from '../platform/log.js'
import type { Settings } from './settings-table.js'

/** pino's names of our levels. */
const levels = { debug: 'debug', info: 'info', warning: 'warn', error: 'error', none: 'silent' }

/** Makes the log that the settings ask for; lines go to standard output. */
export function createLogger(settings: Settings, isTerminal: boolean): Logger {
  const formatter = settings['log.console.formatter']
  const readable = formatter === 'plaintext' || (formatter === 'auto' && isTerminal)
  const options = {
    level: levels[settings['log.level']],
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label === 'warn' ? 'warning' : label }) },
  }
  return readable ? pino(options, readableLines) : pino(options)
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
