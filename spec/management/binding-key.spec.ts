import fc from 'fast-check'
import t from 'tap'
import { bindingKey, names } from '../../src/management/binding-key.js'
import { fieldTable } from '../../src/wire/field-table.js'
import { deterministic } from '../support/generators.js'

/** As a RabbitMQ answered. */
const recorded = [
  ['order.#', 'order.%23'],
  ['audit.*', 'audit.%2A'],
  ['~', '%7E'],
  ['', '~'],
  ['orders', 'orders'],
  ['a key', 'a+key'],
] as const

for (const [key, wanted] of recorded)
  t.test(`the binding with key '${key}' is called ${wanted}`, async t => {
    t.equal(bindingKey(key, []), wanted)
    t.ok(names(wanted, key, []), 'encoded once more in the path')
    t.ok(names(key === '' ? '~' : key, key, []), 'not encoded')
  })

t.test('arguments make a name of their own, in any order', async t => {
  const table = fieldTable({ 'x-match': 'all', region: 'eu' })
  const key = bindingKey('k', table)
  t.match(key, /^k~[\w-]{6}$/)
  t.equal(bindingKey('k', table.toReversed()), key)
  t.not(bindingKey('k', fieldTable({ 'x-match': 'all', region: 'us' })), key)
  t.notOk(names('k', 'k', table))
})

t.test('a name can stand in a path, and different keys have different ones', async () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const key = bindingKey(a, [])
      return /^[\w.%+~-]+$/.test(key) && (a === b) === (key === bindingKey(b, []))
    }),
    deterministic,
  )
})
