/** The headers CC and BCC, and what is left when BCC is taken out. */
import t from 'tap'
import { withoutBcc } from '../../src/broker/sender-selected.js'
import { type FieldTable, fieldTable } from '../../src/wire/field-table.js'
import { growth } from '../support/durations.js'

t.test('without BCC headers are sorted, and the first of each key stays', async t => {
  const headers: FieldTable = [
    ...fieldTable({ z: 1, BCC: ['secret'], a: 2, CC: ['open'] }),
    ...fieldTable({ z: 3, b: 4, BCC: ['again'] }),
  ]
  t.strictSame(withoutBcc(headers), fieldTable({ CC: ['open'], a: 2, b: 4, z: 1 }))
})

t.test('taking BCC out costs each header the same, however many there are', async t => {
  const tables = new Map(
    [2000, 16_000].map(count => {
      const keys = Array.from({ length: count }, (_, i) => `${(i * 7919) % count}`.padStart(6, '0'))
      return [count, fieldTable(Object.fromEntries(['BCC', ...keys].map(key => [key, 1])))] as const
    }),
  )
  const ratio = growth(2000, 16_000, count => withoutBcc(tables.get(count) as FieldTable))
  t.ok(ratio < 24, `8 times the headers take ${ratio.toFixed(1)} times as long`)
})
