// Text whose bytes a client chose and nobody checks: keys of field tables and strings among the properties.
// Valid UTF-8 becomes the text it is. In anything else each octet above 0x7f becomes the lone surrogate U+DC00 + octet,
// which no valid text contains: so every name is a plain string, and any bytes survive being written again.

import { isUtf8 } from 'node:buffer'

const surrogates = 0xdc00

/** Reads the text of these octets. */
export function readText(bytes: Buffer, start: number, end: number): string {
  const octets = bytes.subarray(start, end)
  if (isUtf8(octets)) return octets.toString()
  return String.fromCharCode(...Array.from(octets, o => (o < 0x80 ? o : surrogates + o)))
}

/** How many octets the text takes. */
export function textSize(text: string): number {
  return isEscaped(text) ? text.length : Buffer.byteLength(text)
}

/** Writes the text's octets and returns where they end. */
export function writeText(target: Buffer, at: number, text: string): number {
  // latin1 keeps the low octet of each code unit, which is the octet readText escaped.
  return at + target.write(text, at, isEscaped(text) ? 'latin1' : 'utf8')
}

/** Whether the text consists of ASCII and escaped octets only, that is one octet for each code unit. */
function isEscaped(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80 && (unit < surrogates + 0x80 || unit > surrogates + 0xff)) return false
  }
  return true
}
