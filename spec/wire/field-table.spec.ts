import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import {
  checkTable,
  decodeTable,
  describeDifference,
  equivalent,
  type FieldTable,
  type FieldValue,
  fieldTable,
  fieldValue,
  lookup,
  printValue,
  tableSize,
  textOf,
  writeTable,
} from '../../src/wire/field-table.js'
import { deterministic, fieldTables, fieldValues } from '../support/generators.js'

function encoded(table: FieldTable): Buffer {
  const bytes = Buffer.alloc(tableSize(table))
  writeTable(bytes, 0, table)
  return bytes
}

function decoded(bytes: Buffer): FieldTable {
  return decodeTable(bytes, 4, bytes.length)
}

/** The octets of one field named `k`. */
function field(letter: string, ...octets: number[]): Buffer {
  return Buffer.concat([Buffer.from(`\x01k${letter}`), Buffer.from(octets)])
}

function only(bytes: Buffer): FieldValue {
  if (!checkTable(bytes, 0, bytes.length)) throw new Error('not a table')
  return lookup(decodeTable(bytes, 0, bytes.length), 'k') as FieldValue
}

t.test('any table is the same after writing and reading', async () => {
  fc.assert(
    fc.property(fieldTables, table => {
      const bytes = encoded(table)
      deepStrictEqual(checkTable(bytes, 4, bytes.length), true)
      deepStrictEqual(decoded(bytes), table)
      deepStrictEqual(encoded(decoded(bytes)), bytes)
    }),
    deterministic,
  )
})

t.test('every letter is read as RabbitMQ reads it', async t => {
  t.same(only(field('t', 2)), { type: 't', value: true })
  t.same(only(field('b', 0xff)), { type: 'b', value: -1 })
  t.same(only(field('B', 0xff)), { type: 'B', value: 255 })
  t.same(only(field('s', 0xff, 0xfe)), { type: 's', value: -2 })
  t.same(only(field('u', 0xff, 0xfe)), { type: 'u', value: 65534 })
  t.same(only(field('I', 0xff, 0xff, 0xff, 0xfd)), { type: 'I', value: -3 })
  t.same(only(field('i', 0xff, 0xff, 0xff, 0xfd)), { type: 'i', value: 2 ** 32 - 3 })
  t.same(only(field('l', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), { type: 'l', value: -1 })
  t.same(only(field('l', 0x80, 0, 0, 0, 0, 0, 0, 0)), { type: 'l', value: -(2n ** 63n) })
  t.same(only(field('T', 0x80, 0, 0, 0, 0, 0, 0, 0)), { type: 'T', value: 2n ** 63n })
  t.same(only(field('f', 0x3f, 0x80, 0, 0)), { type: 'f', value: 1 })
  t.same(only(field('d', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)), { type: 'd', value: 1 })
  t.same(only(field('D', 2, 0, 0, 1, 0)), { type: 'D', value: { scale: 2, digits: 256 } })
  t.same(only(field('S', 0, 0, 0, 1, 0xff)), { type: 'S', value: Buffer.of(0xff) })
  t.same(only(field('x', 0, 0, 0, 1, 0xff)), { type: 'x', value: Buffer.of(0xff) })
  t.same(only(field('V')), { type: 'V', value: null })
  t.same(only(field('A', 0, 0, 0, 1, 0x56)), { type: 'A', value: [{ type: 'V', value: null }] })
  t.same(only(field('F', 0, 0, 0, 0)), { type: 'F', value: [] })
})

t.test('L is read as a signed integer and written as l', async t => {
  const value = only(field('L', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
  t.same(value, { type: 'l', value: -1 })
  t.equal(encoded([{ key: 'k', value }]).toString('latin1', 6, 7), 'l')
})

t.test('a decoded table does not change with the bytes it was read from', async t => {
  const bytes = encoded(fieldTable({ text: 'hare' }))
  const table = decoded(bytes)
  bytes.fill(0)
  t.equal(textOf(lookup(table, 'text')), 'hare')
})

t.test('of duplicate keys the first is found and both are kept', async t => {
  const table = [...fieldTable({ k: 1 }), ...fieldTable({ k: 2 })]
  t.same(lookup(decoded(encoded(table)), 'k'), { type: 'I', value: 1 })
  t.equal(decoded(encoded(table)).length, 2)
  t.equal(lookup(table, 'other'), undefined)
})

t.test('plain values get the letters RabbitMQ would use', async t => {
  const plain = {
    s: 'a',
    t: true,
    i: -1,
    l: 2 ** 31,
    big: 2n ** 62n,
    d: 0.5,
    v: null,
    x: Buffer.of(1),
  }
  const letters = fieldTable({ ...plain, a: ['b'], f: { c: 1 } }).map(({ value }) => value.type)
  t.same(letters.join(''), 'StIlldVxAF')
})

t.test('a length that runs over the end of its table is noticed', async t => {
  const whole = encoded(fieldTable({ text: 'hare', list: [1, { deep: 'er' }], n: 1 })).subarray(4)
  for (let end = 1; end < whole.length; end++) {
    const fields = fieldTable({ text: 'hare', list: [1, { deep: 'er' }], n: 1 })
    const boundary = fields.some((_, i) => tableSize(fields.slice(0, i)) - 4 === end)
    t.equal(checkTable(whole, 0, end), boundary, `${end} octets`)
  }
  t.equal(checkTable(field('F', 0, 0, 0, 1, 0), 0, 8), false, 'a key without a value')
  t.equal(checkTable(field('A', 0, 0, 0, 2, 0x74), 0, 8), false, 'an array longer than its table')
})

t.test('an unknown letter is refused and named', async t => {
  const bytes = field('U', 0, 1)
  t.throws(() => checkTable(bytes, 0, bytes.length), {
    message: 'SYNTAX_ERROR - field table holds a value of unknown type <<"U">>',
  })
})

/** Arrays within arrays, the innermost empty, in a table of their own. */
function nestedArrays(levels: number): Buffer {
  const octets = Buffer.alloc(levels * 5)
  for (let level = 0; level < levels; level++) {
    octets.write('A', level * 5)
    octets.writeUInt32BE((levels - level - 1) * 5, level * 5 + 1)
  }
  return Buffer.concat([Buffer.from('\x01k'), octets])
}

t.test('nesting is bounded', async t => {
  const deepest = nestedArrays(511)
  t.equal(checkTable(deepest, 0, deepest.length), true)
  const table = decodeTable(deepest, 0, deepest.length)
  t.same(encoded(table).subarray(4), deepest)
  t.equal(equivalent({ type: 'F', value: table }, { type: 'F', value: table }), true)

  const tooDeep = { message: 'SYNTAX_ERROR - field table is nested more than 512 levels deep' }
  for (const levels of [512, 100_000]) {
    const bytes = nestedArrays(levels)
    t.throws(() => checkTable(bytes, 0, bytes.length), tooDeep)
  }
  let plain: ReturnType<typeof JSON.parse> = {}
  for (let level = 0; level < 100_000; level++) plain = { plain }
  t.throws(() => fieldTable(plain), tooDeep)
})

t.test('no bytes break the check, and what it accepts can be read', async () => {
  fc.assert(
    fc.property(fieldTables, fc.nat(), fc.nat(255), (table, at, octet) => {
      const bytes = encoded(table)
      bytes[4 + (at % (bytes.length - 3))] = octet
      try {
        if (checkTable(bytes, 4, bytes.length)) decoded(bytes)
      } catch (error) {
        deepStrictEqual((error as { reply?: string }).reply, 'SYNTAX_ERROR')
      }
    }),
    { ...deterministic, numRuns: 2000 },
  )
})

t.test('arguments are equivalent by value, whatever the width of the integer', async t => {
  const integers: FieldValue[] = (['b', 'B', 's', 'u', 'I', 'i', 'l', 'T'] as const).map(type => ({
    type,
    value: 5,
  }))
  for (const a of integers) for (const b of integers) t.equal(equivalent(a, b), true)
  t.equal(equivalent({ type: 'f', value: 0.5 }, { type: 'd', value: 0.5 }), true)
  t.equal(equivalent({ type: 'I', value: 1 }, { type: 'd', value: 1 }), false)
  t.equal(equivalent({ type: 'I', value: 1 }, { type: 't', value: true }), false)
  t.equal(equivalent(fieldValue('5'), fieldValue(5)), false)
  t.equal(equivalent(fieldValue('a'), fieldValue(Buffer.from('a'))), true)
  t.equal(equivalent(fieldValue(['a']), fieldValue(['b'])), false)
  t.equal(equivalent(fieldValue(['a']), fieldValue(['a', 'a'])), false)
  t.equal(equivalent(fieldValue({ a: 1 }), fieldValue({ b: 1 })), false)
  const decimal = { scale: 1, digits: 5 }
  t.equal(equivalent({ type: 'D', value: decimal }, { type: 'D', value: { ...decimal } }), true)
})

t.test('inside tables and arrays the letters must agree too', async t => {
  const short: FieldValue = { type: 's', value: 1 }
  t.equal(equivalent(fieldValue([1]), { type: 'A', value: [short] }), false)
  t.equal(
    equivalent(fieldValue({ k: 1 }), { type: 'F', value: [{ key: 'k', value: short }] }),
    false,
  )
})

t.test('every value is equivalent to itself read again', async () => {
  fc.assert(
    fc.property(fieldValues, value => {
      const again = lookup(decoded(encoded([{ key: 'k', value }])), 'k') as FieldValue
      return equivalent(value, again)
    }),
    deterministic,
  )
})

t.test('a difference is described in the words RabbitMQ 3.10.8 was seen to use', async t => {
  t.equal(describeDifference(fieldValue(6), fieldValue(5)), "received '6' but current is '5'")
  t.equal(
    describeDifference(undefined, fieldValue(5)),
    "received none but current is the value '5' of type 'signedint'",
  )
  t.equal(
    describeDifference(fieldValue(true), undefined),
    "received the value 'true' of type 'bool' but current is none",
  )
  t.equal(describeDifference(fieldValue('a'), fieldValue('ü')), "received 'a' but current is 'ü'")
})

t.test('values are printed as Erlang terms', async t => {
  t.equal(printValue({ type: 'l', value: 2n ** 62n }), '4611686018427387904')
  t.equal(printValue({ type: 'd', value: 1 }), '1.0')
  t.equal(printValue({ type: 'd', value: 0.5 }), '0.5')
  t.equal(printValue({ type: 'D', value: { scale: 2, digits: 314 } }), '{2,314}')
  t.equal(printValue(fieldValue(null)), 'undefined')
  t.equal(printValue(fieldValue(['a', 1])), '[{longstr,<<"a">>},{signedint,1}]')
  t.equal(printValue(fieldValue({ k: { n: false } })), '[{<<"k">>,table,[{<<"n">>,bool,false}]}]')
})
