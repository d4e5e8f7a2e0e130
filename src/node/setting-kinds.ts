/**
 * The kinds of value a setting may have. A kind reads what a file, an environment variable or a
 * flag gives (the latter two give only text) and writes it back as YAML. settings-table.ts uses them.
 */
import { isSource } from '../platform/proxies.js'

import { Pattern } from '../structures/pattern.js'

/** One kind of value: how it is read, what is allowed, how it is written. */
export interface Kind<T> {
  /** Completes "must be …". */
  readonly noun: string
  /** Completes "allowed …". */
  readonly allowed: string
  /** The value meant, or undefined if it is refused. */
  read(given: unknown): T | undefined
  /** The value as YAML, such that reading it gives the value again. */
  write(value: T): string
}

/** A whole number from `min` to `max`. */
export const integer = (min: number, max: number, unit = ''): Kind<number> => ({
  noun: 'an integer',
  allowed: `${min}–${max} ${unit}`.trimEnd(),
  read: given => within(min, max, wholeNumber(given)),
  write: String,
})

/** A TCP port, or null, written `none`: nobody listens. */
export const portOrNone: Kind<number | null> = {
  noun: 'a port or none',
  allowed: '0 to 65535, or none',
  read: given => (given === 'none' || given === null ? null : port.read(given)),
  write: value => (value === null ? 'none' : port.write(value)),
}

/** A TCP port; 0 lets the system choose. */
export const port: Kind<number> = { ...integer(0, 65535), noun: 'a port' }

/** Where to listen; without an address, at the one that holds for all. */
export interface Endpoint {
  readonly host: string | null
  readonly port: number
}

/** Places to listen at, `5672` or `127.0.0.1:5672` or `[::1]:5672`, one or a list; `none` is no place. */
export const endpoints: Kind<readonly Endpoint[]> = {
  noun: 'a port, or a list of ports or addresses with ports',
  allowed: '0–65535, such as 5672, 127.0.0.1:5672, [::1]:5672; none',
  read: given => {
    if (given === 'none') return []
    const read = (Array.isArray(given) ? given : String(given).split(',')).map(endpoint)
    return read.length > 0 && read.every(one => one !== undefined) ? Object.freeze(read) : undefined
  },
  write: value => {
    const texts = value.map(({ host, port: number }) =>
      host === null ? String(number) : JSON.stringify(`${bracketed(host)}:${number}`),
    )
    return texts.length > 1 ? `[${texts.join(', ')}]` : (texts[0] ?? 'none')
  },
}

function endpoint(given: unknown): Endpoint | undefined {
  const [, bare, bracketed, digits] =
    /^(?:([^:[\]\s]+):|\[([^\]\s]+)\]:)?(\d+)$/.exec(String(given).trim()) ?? []
  const number = port.read(digits)
  return number === undefined ? undefined : { host: bare ?? bracketed ?? null, port: number }
}

/** An address as it stands in front of a port. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** A whole number of at least 1, or Infinity, which is written `infinity` as in rabbitmq.conf. */
export const limit: Kind<number> = {
  noun: 'a limit',
  allowed: '1 or more, or infinity',
  read: given =>
    given === 'infinity' || given === Infinity
      ? Infinity
      : within(1, Number.MAX_SAFE_INTEGER, wholeNumber(given)),
  write: value => (value === Infinity ? 'infinity' : String(value)),
}

/** A multiple of something, which need not be whole. */
export const multiple = (max: number): Kind<number> => ({
  noun: 'a number',
  allowed: `0–${max}`,
  read: given => {
    const value = typeof given === 'string' && /^[\d.]+$/.test(given) ? Number(given) : given
    return within(0, max, typeof value === 'number' ? value : undefined)
  },
  write: String,
})

/** A part of a whole. */
export const fraction: Kind<number> = { ...multiple(1), noun: 'a fraction' }

/** Bytes, also as `16MiB` or `16MB`; like RabbitMQ, a letter alone (`16M`) counts in 1024s. */
export const size = (min: number, max: number): Kind<number> => ({
  noun: 'a size',
  allowed: `${bytesText(min)}–${bytesText(max)}, such as 65536, 16MiB, 2GB`,
  read: given => {
    const parts =
      typeof given === 'string' && /^(\d+) ?(?:([kmgt])(i?))?(b?)$/.exec(given.toLowerCase())
    if (!parts) return within(min, max, wholeNumber(given))
    const [, digits, letter = ' ', binary, byte] = parts
    const unit = (byte && !binary ? 1000 : 1024) ** ' kmgt'.indexOf(letter)
    return within(min, max, Number(digits) * unit)
  },
  write: bytesText,
})

const durations: readonly (readonly [unit: string, ms: number])[] = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** Milliseconds, also as `30s`; at most what a Node timer can wait. */
export const duration = (min: number): Kind<number> => ({
  noun: 'a duration',
  allowed: `${min} ms or more, such as 500, 30s, 5m, 1h`,
  read: given => {
    const parts = typeof given === 'string' && /^(\d+) ?(ms|s|m|h)$/.exec(given)
    const ms = parts
      ? Number(parts[1]) * durations.find(([unit]) => unit === parts[2])![1]
      : wholeNumber(given)
    return within(min, 2 ** 31 - 1, ms)
  },
  write: value => {
    const [unit, ms] = durations.find(([, ms]) => value % ms === 0)!
    return `${value / ms}${unit}`
  },
})

/** Yes or no. */
export const boolean: Kind<boolean> = {
  noun: 'a boolean',
  allowed: 'true or false',
  read: given => [false, true].find(value => given === value || given === String(value)),
  write: String,
}

/** Text of at least one character. A number is refused: YAML would read 0123 as 123. */
export const text: Kind<string> = {
  noun: 'text',
  allowed: 'not empty; a number in quotes',
  read: given => (typeof given === 'string' && given !== '' ? given : undefined),
  write: value => JSON.stringify(value),
}

/** Text that may be empty. */
export const textOrEmpty: Kind<string> = {
  ...text,
  allowed: 'any; a number in quotes',
  read: given => (typeof given === 'string' ? given : undefined),
}

/** Text, or `none`, which is null. */
export const textOrNone: Kind<string | null> = {
  ...text,
  allowed: `${text.allowed}; none`,
  read: given => (given === 'none' || given === null ? null : text.read(given)),
  write: value => (value === null ? 'none' : text.write(value)),
}

/** A pattern of names, as permissions have them. */
export const pattern: Kind<string> = {
  noun: 'a regular expression',
  allowed: "PCRE's syntax; empty matches nothing",
  read: given => (typeof given === 'string' && isPattern(given) ? given : undefined),
  write: value => JSON.stringify(value),
}

/** One of a few words. */
export const oneOf = <const W extends string>(...words: readonly W[]): Kind<W> => ({
  noun: 'a known word',
  allowed: words.join(', '),
  read: given => words.find(word => word === given),
  write: String,
})

/** A list of texts, also as text with commas; `none` is the empty list. */
export const list: Kind<readonly string[]> = {
  noun: 'a list of texts',
  allowed: 'a list, or text with commas, or none',
  read: given => (given === 'none' ? Object.freeze([]) : texts(given)),
  write: listText,
}

/** A list of addresses and networks, such as 10.0.0.0/8. */
export const sources: Kind<readonly string[]> = {
  ...list,
  noun: 'a list of addresses or networks',
  allowed: 'such as 10.0.0.1, 10.0.0.0/8, 2001:db8::/32; none',
  read: given => {
    const read = list.read(given)
    return read?.every(isSource) ? read : undefined
  },
}

/** A list of at least one of a few words. */
export const someOf = <const W extends string>(...words: readonly W[]): Kind<readonly W[]> => ({
  noun: 'a list of known words',
  allowed: `one or more of ${words.join(', ')}`,
  read: given => {
    const known = texts(given)
    const allowed =
      known?.length && known.every(word => (words as readonly string[]).includes(word))
    return allowed ? (known as readonly W[]) : undefined
  },
  write: listText,
})

/** A value that may be left out; then it is null. */
export const optional = <T>(kind: Kind<T>): Kind<T | null> => ({
  ...kind,
  read: given => (given === null ? null : kind.read(given)),
  write: value => (value === null ? 'null' : kind.write(value)),
})

function isPattern(text: string): boolean {
  try {
    new Pattern(text)
    return true
  } catch {
    return false
  }
}

function wholeNumber(given: unknown): number | undefined {
  const value = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given
  return Number.isSafeInteger(value) ? (value as number) : undefined
}

function within(min: number, max: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined
}

function texts(given: unknown): readonly string[] | undefined {
  const items = typeof given === 'string' ? given.split(',').map(item => item.trim()) : given
  const valid = Array.isArray(items) && items.every(item => typeof item === 'string' && item !== '')
  return valid ? Object.freeze([...items]) : undefined
}

function bytesText(value: number): string {
  const power = [4, 3, 2, 1].find(power => value > 0 && value % 1024 ** power === 0) ?? 0
  return power === 0 ? String(value) : `${value / 1024 ** power}${' KMGT'[power]}iB`
}

function listText(values: readonly string[]): string {
  return `[${values.map(value => JSON.stringify(value)).join(', ')}]`
}
