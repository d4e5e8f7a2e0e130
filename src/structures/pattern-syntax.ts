/**
 * The syntax of users' patterns: PCRE's, as far as it matches names, read into a tree. What is
 * left out (captures that are referred to, recursion, conditions, verbs) is refused, never taken
 * for something else. Patterns and names are bytes, as RabbitMQ has them.
 */

/** A part of a pattern. */
export type Part =
  /** Bytes one after another, each out of a set: a table of 256. */
  | { readonly kind: 'bytes'; readonly sets: readonly Uint8Array[] }
  | { readonly kind: 'start' | 'end' | 'very end' | 'boundary' | 'no boundary' }
  | { readonly kind: 'sequence'; readonly parts: readonly Part[] }
  | { readonly kind: 'choice'; readonly parts: readonly Part[] }
  | {
      readonly kind: 'repeat'
      readonly part: Part
      readonly min: number
      readonly max: number
      readonly greed: Greed
    }
  /** What it matched stays as it is, whatever follows: `(?>…)`. */
  | { readonly kind: 'atomic'; readonly part: Part }
  /** `widths` holds for a look behind how many bytes each of its alternatives takes. */
  | {
      readonly kind: 'look'
      readonly part: Part
      readonly behind: readonly number[] | null
      readonly negative: boolean
    }

export type Greed = 'greedy' | 'lazy' | 'possessive'

/** Says why a pattern cannot be used, in PCRE's words where it would not take it either. */
export class PatternError extends Error {
  /** Where in the pattern's bytes. */
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.name = 'PatternError'
    this.at = at
  }
}

const longestPattern = 65_535
const longestRepeat = 65_535
const deepest = 250

const set = (holds: (code: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, code) => (holds(code) ? 1 : 0))
const without = (table: Uint8Array): Uint8Array => set(code => table[code] === 0)
const of = (characters: RegExp): Uint8Array =>
  set(code => characters.test(String.fromCharCode(code)))

// Letters are those of ISO Latin 1, as in Erlang's tables.
const upper = of(/[A-Z\xc0-\xd6\xd8-\xde]/)
const lower = of(/[a-z\xaa\xb5\xba\xdf-\xf6\xf8-\xff]/)
const digit = of(/[0-9]/)
const alnum = set(code => upper[code] === 1 || lower[code] === 1 || digit[code] === 1)
export const word = set(code => alnum[code] === 1 || code === 0x5f)
const space = of(/[ \t\n\v\f\r]/)
const blank = of(/[ \t]/)
const graph = of(/[!-~\xa0-\xff]/)
const line = of(/\n/)

/** Escapes that stand for one byte out of several. */
const classes: Readonly<Record<string, Uint8Array>> = {
  d: digit,
  D: without(digit),
  w: word,
  W: without(word),
  s: space,
  S: without(space),
  h: of(/[ \t\xa0]/),
  H: of(/[^ \t\xa0]/),
  v: of(/[\n\v\f\r\x85]/),
  V: of(/[^\n\v\f\r\x85]/),
  N: without(line),
}

/** Escapes that stand for one byte. */
const controls: Readonly<Record<string, number>> = { a: 7, e: 27, f: 12, n: 10, r: 13, t: 9 }

const posix: Readonly<Record<string, Uint8Array>> = {
  alnum,
  alpha: set(code => upper[code] === 1 || lower[code] === 1),
  ascii: set(() => true),
  blank,
  cntrl: set(code => code < 32 || (code >= 127 && code < 160)),
  digit,
  graph,
  lower,
  print: set(code => graph[code] === 1 || code === 0x20),
  punct: set(code => graph[code] === 1 && alnum[code] === 0),
  space,
  upper,
  word,
  xdigit: of(/[0-9A-Fa-f]/),
}

/** Flags that `(?…)` sets: case, dot matches newline, lines, spaces do not count. */
interface Flags {
  readonly i: boolean
  readonly s: boolean
  readonly m: boolean
  readonly x: boolean
}

const noFlags: Flags = { i: false, s: false, m: false, x: false }

/** Reads a pattern; throws PatternError. */
export function readPattern(pattern: string): Part {
  return new Reader(Buffer.from(pattern).toString('latin1')).read()
}

class Reader {
  readonly #text: string
  #at = 0
  #depth = 0
  #flags = noFlags

  constructor(text: string) {
    if (text.length > longestPattern) throw new PatternError('regular expression is too large', 0)
    this.#text = text
  }

  read(): Part {
    const part = this.#choice()
    if (this.#at < this.#text.length) this.#fail('unmatched parentheses')
    return part
  }

  #fail(message: string): never {
    throw new PatternError(message, this.#at)
  }

  /** Takes `text` if it comes next. */
  #took(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #taken(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at
    const found = expression.exec(this.#text)
    if (found !== null) this.#at += found[0].length
    return found
  }

  /** Alternatives up to the end of the group. What sets flags in it counts no longer than the group. */
  #choice(): Part {
    if (++this.#depth > deepest) this.#fail('parentheses are too deeply nested')
    const flags = this.#flags
    const parts = [this.#sequence()]
    while (this.#took('|')) parts.push(this.#sequence())
    this.#flags = flags
    this.#depth--
    return parts.length === 1 ? (parts[0] as Part) : { kind: 'choice', parts }
  }

  #sequence(): Part {
    const parts: Part[] = []
    let bytes: Uint8Array[] = []
    const flush = () => {
      if (bytes.length > 0) parts.push({ kind: 'bytes', sets: bytes })
      bytes = []
    }
    for (;;) {
      if (this.#skipped()) continue
      const next = this.#text[this.#at]
      if (next === undefined || next === '|' || next === ')') break
      const part = this.#atom()
      if (part === null) continue
      const repeated = this.#repeated(part, next !== '(' && isPlace(part))
      if (repeated.kind === 'bytes') bytes.push(...repeated.sets)
      else {
        flush()
        parts.push(repeated)
      }
    }
    flush()
    return parts.length === 1 ? (parts[0] as Part) : { kind: 'sequence', parts }
  }

  /** Passes over what means nothing: comments, and with the flag x spaces. */
  #skipped(): boolean {
    if (this.#took('(?#')) {
      const end = this.#text.indexOf(')', this.#at)
      if (end < 0) this.#fail('missing ) after (?# comment')
      this.#at = end + 1
      return true
    }
    return this.#flags.x && this.#taken(/(?:[ \t\n\v\f\r]|#[^\n]*)+/y) !== null
  }

  /** The next part without what repeats it; null if it only set flags. */
  #atom(): Part | null {
    const next = this.#text[this.#at] as string
    switch (next) {
      case '(':
        return this.#group()
      case '[':
        this.#at++
        return one(this.#class())
      case '\\':
        return this.#escape()
      case '^':
        this.#at++
        return { kind: 'start' }
      case '$':
        this.#at++
        return { kind: 'end' }
      case '.':
        this.#at++
        return one(this.#flags.s ? set(() => true) : without(line))
      case '*':
      case '+':
      case '?':
        return this.#fail('nothing to repeat')
      default:
        if (next === '{' && this.#quantifier() !== null) this.#fail('nothing to repeat')
        this.#at++
        return one(this.#literal(next.charCodeAt(0)))
    }
  }

  /** A part with what repeats it; `never`: nothing may. */
  #repeated(part: Part, never = false): Part {
    let repeated = part
    for (let first = true; ; first = false) {
      while (this.#skipped());
      const quantifier = this.#quantifier()
      if (quantifier === null) return repeated
      if (!first || never) this.#fail('nothing to repeat')
      const greed = this.#took('+') ? 'possessive' : this.#took('?') ? 'lazy' : 'greedy'
      repeated = { kind: 'repeat', part: repeated, ...quantifier, greed }
    }
  }

  /** How often, if that is what comes next; a brace that is no quantifier is a brace. */
  #quantifier(): { min: number; max: number } | null {
    if (this.#took('*')) return { min: 0, max: Number.POSITIVE_INFINITY }
    if (this.#took('+')) return { min: 1, max: Number.POSITIVE_INFINITY }
    if (this.#took('?')) return { min: 0, max: 1 }
    const found = this.#taken(/\{(\d+)(?:(,)(\d*))?\}/y)
    if (found === null) return null
    const [, low, comma, high] = found
    const min = Number(low)
    const max = comma === undefined ? min : high === '' ? Number.POSITIVE_INFINITY : Number(high)
    if (min > longestRepeat || (max > longestRepeat && max !== Number.POSITIVE_INFINITY))
      this.#fail('number too big in {} quantifier')
    if (max < min) this.#fail('numbers out of order in {} quantifier')
    return { min, max }
  }

  #group(): Part | null {
    const start = this.#at
    this.#at++
    if (this.#text[this.#at] === '*') this.#fail('verbs are not supported')
    if (!this.#took('?')) return this.#closed(this.#choice())
    if (this.#took(':')) return this.#closed(this.#choice())
    if (this.#took('>')) return { kind: 'atomic', part: this.#closed(this.#choice()) }
    if (this.#took('=')) return this.#look(false, false)
    if (this.#took('!')) return this.#look(false, true)
    if (this.#took('<=')) return this.#look(true, false)
    if (this.#took('<!')) return this.#look(true, true)
    // A name makes no difference where nothing can refer to it.
    if (this.#taken(/P?<[A-Za-z_]\w*>|'[A-Za-z_]\w*'/y)) return this.#closed(this.#choice())
    const flags = this.#taken(/([imsx]*)(?:-([imsx]*))?([:)])/y)
    if (flags === null) {
      this.#at = start + 2
      this.#fail('unrecognized character after (? or (?-')
    }
    const [, on = '', off = '', end] = flags
    const before = this.#flags
    const flag = (name: keyof Flags) => (before[name] || on.includes(name)) && !off.includes(name)
    this.#flags = { i: flag('i'), s: flag('s'), m: flag('m'), x: flag('x') }
    if (this.#flags.m) this.#fail('the flag m is not supported')
    if (end === ')') return null
    const part = this.#closed(this.#choice())
    this.#flags = before
    return part
  }

  #closed(part: Part): Part {
    if (!this.#took(')')) this.#fail('missing )')
    return part
  }

  #look(behind: boolean, negative: boolean): Part {
    const part = this.#closed(this.#choice())
    if (!behind) return { kind: 'look', part, behind: null, negative }
    const widths = (part.kind === 'choice' ? part.parts : [part]).map(widthOf)
    if (widths.includes(-1)) this.#fail('lookbehind assertion is not fixed length')
    return { kind: 'look', part, behind: widths, negative }
  }

  /** An escape outside of a class. */
  #escape(): Part {
    const letter = this.#text[this.#at + 1]
    const kind = (
      { A: 'start', Z: 'end', z: 'very end', b: 'boundary', B: 'no boundary' } as const
    )[(letter ?? '') as 'A']
    if (kind !== undefined) {
      this.#at += 2
      return { kind }
    }
    if (this.#took('\\Q')) {
      const end = this.#text.indexOf('\\E', this.#at)
      const quoted = this.#text.slice(this.#at, end < 0 ? undefined : end)
      this.#at = end < 0 ? this.#text.length : end + 2
      // What repeats a quotation repeats its last byte.
      const sets = [...quoted].map(character => this.#literal(character.charCodeAt(0)))
      const last = sets.pop()
      if (last === undefined) return { kind: 'sequence', parts: [] }
      return { kind: 'sequence', parts: [{ kind: 'bytes', sets }, this.#repeated(one(last))] }
    }
    return one(this.#escapedSet())
  }

  /** The set of an escape, in a class or outside. */
  #escapedSet(): Uint8Array {
    this.#at++
    const letter = this.#text[this.#at]
    if (letter === undefined) this.#fail('\\ at end of pattern')
    if (Object.hasOwn(classes, letter)) {
      this.#at++
      return classes[letter] as Uint8Array
    }
    if (Object.hasOwn(controls, letter)) {
      this.#at++
      return this.#literal(controls[letter] as number)
    }
    const hexadecimal = this.#taken(/x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{0,2}))/y)
    if (hexadecimal !== null) {
      const code = Number.parseInt(hexadecimal[1] ?? (hexadecimal[2] || '0'), 16)
      if (code > 255) this.#fail('character value in \\x{} or \\o{} is too large')
      return this.#literal(code)
    }
    const octal = this.#taken(/0[0-7]{0,2}/y)
    if (octal !== null) return this.#literal(Number.parseInt(octal[0], 8))
    if (/[A-Za-z0-9]/.test(letter)) this.#fail(`\\${letter} is not supported`)
    this.#at++
    return this.#literal(letter.charCodeAt(0))
  }

  #literal(code: number): Uint8Array {
    const other = upper[code] === 1 ? code + 32 : upper[code - 32] === 1 ? code - 32 : code
    return set(one => one === code || (this.#flags.i && one === other))
  }

  /** A class, from behind its bracket. */
  #class(): Uint8Array {
    const start = this.#at
    const table = new Uint8Array(256)
    const negative = this.#took('^')
    for (let first = true; first || !this.#took(']'); first = false) {
      if (this.#at >= this.#text.length) {
        this.#at = Math.max(start, this.#text.length)
        this.#fail('missing terminating ] for character class')
      }
      const named = this.#taken(/\[:(\^?)(\w+):\]/y)
      if (named !== null) {
        const known = Object.hasOwn(posix, named[2] as string) && posix[named[2] as string]
        if (!known) this.#fail('unknown POSIX class name')
        add(table, named[1] === '^' ? without(known) : known)
        continue
      }
      if (this.#looksAt(/\[([.=]).*?\1\]/y))
        this.#fail('POSIX collating elements are not supported')
      const low = this.#classMember()
      const ranges = typeof low === 'number' && /-[^\]]/y
      if (ranges === false || !this.#looksAt(ranges)) {
        add(table, typeof low === 'number' ? this.#literal(low) : low)
        continue
      }
      this.#at++
      const high = this.#classMember()
      if (typeof high !== 'number') this.#fail('invalid range in character class')
      if (high < (low as number)) this.#fail('range out of order in character class')
      for (let code = low as number; code <= high; code++) add(table, this.#literal(code))
    }
    return negative ? without(table) : table
  }

  #looksAt(expression: RegExp): boolean {
    expression.lastIndex = this.#at
    return expression.test(this.#text)
  }

  /** A byte of a class, or several by an escape. */
  #classMember(): number | Uint8Array {
    const next = this.#text[this.#at] as string
    if (next !== '\\') {
      this.#at++
      return next.charCodeAt(0)
    }
    if (this.#took('\\b')) return 8
    const letter = this.#text[this.#at + 1] ?? ''
    if ('QERXBAZzG'.includes(letter) && letter !== '') this.#fail(`\\${letter} is not supported`)
    if (Object.hasOwn(classes, letter)) return this.#escapedSet()
    const flags = this.#flags
    this.#flags = noFlags
    const single = this.#escapedSet().indexOf(1)
    this.#flags = flags
    return single
  }
}

/** Matches a place rather than bytes. */
function isPlace({ kind }: Part): boolean {
  return kind === 'start' || kind.endsWith('end') || kind.endsWith('boundary')
}

function one(table: Uint8Array): Part {
  return { kind: 'bytes', sets: [table] }
}

function add(table: Uint8Array, other: Uint8Array): void {
  for (let code = 0; code < 256; code++) if (other[code] === 1) table[code] = 1
}

/** How many bytes a part always takes; -1 if that may be different numbers. */
function widthOf(part: Part): number {
  switch (part.kind) {
    case 'bytes':
      return part.sets.length
    case 'sequence': {
      const widths = part.parts.map(widthOf)
      return widths.includes(-1) ? -1 : widths.reduce((sum, width) => sum + width, 0)
    }
    case 'choice': {
      const widths = new Set(part.parts.map(widthOf))
      return widths.size === 1 ? ([...widths][0] as number) : -1
    }
    case 'repeat': {
      const width = widthOf(part.part)
      return width >= 0 && part.min === part.max ? width * part.min : -1
    }
    case 'atomic':
      return widthOf(part.part)
    default:
      return 0
  }
}
