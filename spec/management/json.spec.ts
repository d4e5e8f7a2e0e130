import fc from 'fast-check'
import t from 'tap'
import { propertiesJson, propertiesOf, tableJson, tableOf } from '../../src/management/json.js'
import { deterministic } from '../support/generators.js'

t.test('a table that came from JSON is the same JSON again', async () => {
  const json = fc.dictionary(
    fc.string(),
    fc.jsonValue({ maxDepth: 3 }).map(value => JSON.parse(JSON.stringify(value))),
  )
  fc.assert(
    fc.property(json, object => {
      const again = tableJson(tableOf(object))
      return JSON.stringify(again) === JSON.stringify({ ...object })
    }),
    deterministic,
  )
})

t.test('what AMQP has and JSON has not becomes what is nearest', async t => {
  const table = [
    { key: 'bytes', value: { type: 'x', value: Buffer.from('é') } },
    { key: 'large', value: { type: 'l', value: 2n ** 62n } },
    { key: 'decimal', value: { type: 'D', value: { scale: 2, digits: 125 } } },
    { key: 'nan', value: { type: 'd', value: Number.NaN } },
    { key: 'time', value: { type: 'T', value: 1700000000 } },
    { key: 'void', value: { type: 'V', value: null } },
    { key: 'twice', value: { type: 'I', value: 1 } },
    { key: 'twice', value: { type: 'I', value: 2 } },
  ] as const
  t.strictSame(tableJson(table), {
    bytes: 'é',
    large: 2 ** 62,
    decimal: 1.25,
    nan: 'NaN',
    time: 1700000000,
    void: null,
    twice: 1,
  })
})

t.test('properties go by the names they have in JSON', async t => {
  const object = {
    content_type: 'text/plain',
    headers: { n: 1, deep: { list: ['a', true] } },
    delivery_mode: 2,
    priority: 3,
    timestamp: 1700000000,
    user_id: 'guest',
  }
  const properties = propertiesOf({ ...object, nope: 1, app_id: null })
  t.equal(properties.deliveryMode, 2)
  t.equal(properties.appId, undefined)
  t.strictSame(propertiesJson(properties), object)
})

for (const wrong of [
  { priority: '3' },
  { priority: 256 },
  { delivery_mode: 1.5 },
  { timestamp: -1 },
  { headers: [] },
  { content_type: 'x'.repeat(256) },
])
  t.test(
    `${Object.keys(wrong)} with ${JSON.stringify(wrong).length} characters is refused`,
    async t => {
      t.throws(() => propertiesOf(wrong), { status: 400 } as unknown as Error)
    },
  )
