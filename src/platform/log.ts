/** The log as everything below the node sees it: pino fulfils it, and so does silence. */

/** Facts that stand beside a log line. */
export type LogFields = Readonly<Record<string, unknown>>

export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

const silent = () => {}

/** Says nothing: what a broker inside a test uses. */
export const silence: Logger = { debug: silent, info: silent, warn: silent, error: silent }
