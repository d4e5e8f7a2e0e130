/** The log as everything below the node sees it: pino fulfils it, and so does silence. */

/** Facts that stand beside a log line. */
export type LogFields = Readonly<Record<string, unknown>>

export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

/** Text of a client in a log line: no longer than this, and no character that could begin a line of its own. */
const shownMax = 256

/** What can stand as it is. */
const plain = /^[ !#-[\]-~]*$/

export function shown(text: string): string {
  if (text.length <= shownMax && plain.test(text)) return text
  const cut = text.length > shownMax ? `${text.slice(0, shownMax)}...` : text
  return JSON.stringify(cut)
    .slice(1, -1)
    .replace(
      /[\u007f-\u009f\u2028\u2029]/g,
      c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
}

const silent = () => {}

/** Says nothing: what a broker inside a test uses. */
export const silence: Logger = { debug: silent, info: silent, warn: silent, error: silent }
