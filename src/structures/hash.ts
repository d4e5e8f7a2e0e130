/** Hashes of texts to 32 bits, the same in every run: what is chosen by one is chosen so again after a restart. */

const offset = 0x811c9dc5
const prime = 0x01000193

/** FNV-1a over the code units of a text, going on from `from`; low bits are good, but `mix` it before comparing. */
export function hashText(text: string, from = offset): number {
  let h = from
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    h = Math.imul(h ^ (unit & 0xff), prime)
    if (unit > 0xff) h = Math.imul(h ^ (unit >>> 8), prime)
  }
  // So that two texts one behind the other are not the same as both in one.
  return Math.imul(h ^ 0xff, prime)
}

/** Spreads every bit of a number over all 32 (the end of MurmurHash3); the result is not negative. */
export function mix(value: number): number {
  let h = value ^ (value >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
