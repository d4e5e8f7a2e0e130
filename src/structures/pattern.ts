/**
 * A pattern that a user gave: of a permission or a policy. It is matched by backtracking, as PCRE
 * does, but with a bound on the steps that one name may take: JavaScript's own expressions have
 * none, and a bound on time would refuse on a busy machine what it takes on an idle one.
 */
import { type Part, readPattern, word } from './pattern-syntax.js'

export { PatternError } from './pattern-syntax.js'

/** Steps that one match may take: some milliseconds. PCRE has such a bound too, and then does not match either. */
const stepsMax = 1_000_000

/** So many steps count where it may have to come back: that costs more than to look at a byte. */
const returnSteps = 20

/** Goes on behind a part that matched; false if the rest does not match. */
type Next = (at: number) => boolean

/** Whether a part matches from a place on, and then the rest. */
type Matcher = (run: Run, at: number, next: Next) => boolean

/** One name being matched. */
interface Run {
  readonly text: string
  stepsLeft: number
}

/** The bound is passed. */
class TooManySteps extends Error {}

export class Pattern {
  readonly source: string
  readonly #match: Matcher

  /** Reads a pattern in PCRE's syntax; throws a PatternError. */
  constructor(source: string) {
    this.source = source
    this.#match = matcherOf(readPattern(source))
  }

  /** Whether it matches anywhere in a name. What takes too many steps does not match. */
  matches(name: string): boolean {
    // A character for each byte; most names are so already.
    const ascii = Buffer.byteLength(name) === name.length
    const text = ascii ? name : Buffer.from(name).toString('latin1')
    const run = { text, stepsLeft: stepsMax }
    try {
      for (let at = 0; at <= run.text.length; at++) if (this.#match(run, at, matched)) return true
    } catch (error) {
      // A pattern as long as the stack is deep is beyond the bound too.
      if (!(error instanceof TooManySteps || error instanceof RangeError)) throw error
    }
    return false
  }
}

const matched: Next = () => true

function step(run: Run, steps = 1): void {
  run.stepsLeft -= steps
  if (run.stepsLeft < 0) throw new TooManySteps()
}

function matcherOf(part: Part): Matcher {
  switch (part.kind) {
    case 'bytes':
      return bytes(part.sets)
    case 'sequence':
      return part.parts.map(matcherOf).reduceRight(
        (rest, first) => (run, at, next) => first(run, at, end => rest(run, end, next)),
        (_run, at, next) => next(at),
      )
    case 'choice':
      return choice(part.parts)
    case 'repeat':
      return repeat(part)
    case 'atomic': {
      const inner = matcherOf(part.part)
      return (run, at, next) => {
        const end = endOf(inner, run, at)
        return end >= 0 && next(end)
      }
    }
    case 'look':
      return look(part)
    case 'start':
      return (_run, at, next) => at === 0 && next(at)
    case 'end':
      return ({ text }, at, next) => {
        const left = text.length - at
        return (left === 0 || (left === 1 && text[at] === '\n')) && next(at)
      }
    case 'very end':
      return ({ text }, at, next) => at === text.length && next(at)
    case 'boundary':
      return ({ text }, at, next) => isWord(text, at - 1) !== isWord(text, at) && next(at)
    case 'no boundary':
      return ({ text }, at, next) => isWord(text, at - 1) === isWord(text, at) && next(at)
  }
}

/** Only what can begin with the next byte is tried: patterns may be long lists of names. */
function choice(parts: readonly Part[]): Matcher {
  const matchers = parts.map(matcherOf)
  const firsts = parts.map(firstBytes)
  const byNext = new Map<number, readonly Matcher[]>()
  return (run, at, next) => {
    const code = run.text.charCodeAt(at)
    let candidates = byNext.get(code)
    if (candidates === undefined) {
      candidates = matchers.filter((_, i) => firsts[i]?.[code] !== 0 || firsts[i] === null)
      byNext.set(code, candidates)
    }
    for (const candidate of candidates) {
      step(run)
      if (candidate(run, at, next)) return true
    }
    return false
  }
}

/** The bytes with which a part must begin; null if it need not begin with any. */
function firstBytes(part: Part): Uint8Array | null {
  if (part.kind === 'bytes') return part.sets[0] ?? null
  const first = part.kind === 'sequence' ? part.parts[0] : undefined
  return first === undefined ? null : firstBytes(first)
}

function bytes(sets: readonly Uint8Array[]): Matcher {
  return (run, at, next) => {
    step(run)
    const end = at + sets.length
    if (end > run.text.length) return false
    for (let i = 0; i < sets.length; i++)
      if ((sets[i] as Uint8Array)[run.text.charCodeAt(at + i)] === 0) return false
    return next(end)
  }
}

function repeat(part: Extract<Part, { kind: 'repeat' }>): Matcher {
  const { min, max, greed } = part
  const single = part.part.kind === 'bytes' && part.part.sets.length === 1
  if (single) return repeatByte(part.part.sets[0] as Uint8Array, part)
  const inner = matcherOf(part.part)
  const loop = (run: Run, count: number, at: number, next: Next): boolean => {
    step(run, returnSteps)
    // What follows need not be tried twice from the same place.
    let triedHere = false
    const on = () => {
      if (triedHere) return false
      triedHere = true
      return next(at)
    }
    // Once a part takes nothing it may do so for ever, and as often as it must.
    const again = () =>
      count < max && inner(run, at, end => (end === at ? on() : loop(run, count + 1, end, next)))
    const done = () => count >= min && on()
    return greed === 'lazy' ? done() || again() : again() || done()
  }
  if (greed !== 'possessive') return (run, at, next) => loop(run, 0, at, next)
  return (run, at, next) => {
    const end = endOf((run, at, next) => loop(run, 0, at, next), run, at)
    return end >= 0 && next(end)
  }
}

/** A byte repeated, most often the dot: without a call for each. */
function repeatByte(
  table: Uint8Array,
  { min, max, greed }: { readonly min: number; readonly max: number; readonly greed: string },
): Matcher {
  return (run, at, next) => {
    const { text } = run
    const limit = Math.min(max, text.length - at)
    let most = 0
    while (most < limit && table[text.charCodeAt(at + most)] === 1) most++
    run.stepsLeft -= most
    if (most < min) return false
    if (greed === 'possessive') return next(at + most)
    for (let i = 0; i <= most - min; i++) {
      step(run, returnSteps)
      if (next(at + (greed === 'lazy' ? min + i : most - i))) return true
    }
    return false
  }
}

function look({ part, behind, negative }: Extract<Part, { kind: 'look' }>): Matcher {
  if (behind === null) {
    const inner = matcherOf(part)
    return (run, at, next) => endOf(inner, run, at) >= 0 !== negative && next(at)
  }
  const choices = (part.kind === 'choice' ? part.parts : [part]).map(matcherOf)
  return (run, at, next) => {
    const found = choices.some((choice, i) => {
      const start = at - (behind[i] as number)
      return start >= 0 && choice(run, start, end => end === at)
    })
    return found !== negative && next(at)
  }
}

/** Where the first match of a part ends, by itself; -1 if there is none. */
function endOf(matcher: Matcher, run: Run, at: number): number {
  let found = -1
  matcher(run, at, end => {
    found = end
    return true
  })
  return found
}

function isWord(text: string, at: number): boolean {
  return word[text.charCodeAt(at)] === 1
}
