import fc from 'fast-check'
import t from 'tap'
import { readText, textSize, writeText } from '../../src/wire/opaque-text.js'
import { deterministic, octets } from '../support/generators.js'

t.test('valid UTF-8 is the text it is', async t => {
  const bytes = Buffer.from('häsin 🐇')
  t.equal(readText(bytes, 0, bytes.length), 'häsin 🐇')
  t.equal(readText(bytes, 1, 3), 'ä')
})

t.test('what is no UTF-8 becomes a string that no valid text equals', async t => {
  t.equal(readText(Buffer.of(0x61, 0xff), 0, 2), 'a\udcff')
})

t.test('any bytes are the same after reading and writing', async () => {
  fc.assert(
    fc.property(octets, bytes => {
      const text = readText(bytes, 0, bytes.length)
      const written = Buffer.alloc(textSize(text))
      return writeText(written, 0, text) === bytes.length && written.equals(bytes)
    }),
    deterministic,
  )
})
