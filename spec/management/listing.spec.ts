import fc from 'fast-check'
import t from 'tap'
import { type Item, listed, type Page, projected } from '../../src/management/listing.js'
import type { Refusal } from '../../src/management/refusal.js'
import { deterministic } from '../support/generators.js'

const named = (names: string) => names.split(' ').map((name): Item => ({ name }))
const namesOf = (items: readonly Item[] | Page) =>
  ('items' in items ? items.items : (items as readonly Item[])).map(({ name }) => name).join(' ')

t.test('a list stays as it is without a query, whatever name says', async t => {
  const items = named('a b c')
  t.equal(listed(items, {}), items)
  t.equal(namesOf(listed(items, { name: 'b' })), 'a b c')
})

t.test('only a page makes it a page', async t => {
  t.strictSame(listed(named('a b c d e'), { page: '2', page_size: '2' }), {
    total_count: 5,
    item_count: 2,
    filtered_count: 5,
    page: 2,
    page_size: 2,
    page_count: 3,
    items: [{ name: 'c' }, { name: 'd' }],
  })
  const nothing = listed([], { page: '1' }) as Page
  t.strictSame([nothing.page_count, nothing.items, nothing.page_size], [0, [], 100])
})

t.test(
  'a page has those whose name holds a text, or matches an expression, in any case',
  async t => {
    const items = named('orders Orders.dlq audit')
    t.equal(namesOf(listed(items, { page: '1', name: 'ORD' })), 'orders Orders.dlq')
    t.equal(namesOf(listed(items, { page: '1', name: '^ORDERS$', use_regex: 'true' })), 'orders')
    t.equal(namesOf(listed(items, { page: '1', name: '^orders$', use_regex: 'false' })), '')
  },
)

const refused: readonly (readonly [Record<string, string>, string, string])[] = [
  [
    { page: '99', page_size: '2' },
    'page_out_of_range',
    'Page out of range, page: 99 page size: 2, len: 9',
  ],
  [
    { page: '0' },
    'invalid_pagination_parameters',
    'Invalid pagination parameters: page number 0, page size undefined',
  ],
  [
    { page: '1', page_size: '501' },
    'invalid_pagination_parameters',
    'Invalid pagination parameters: page number 1, page size 501',
  ],
  [{ page: 'x' }, 'bad_request', 'Pagination parameters are invalid'],
  [{ page: '1', name: '(', use_regex: 'true' }, 'bad_request', 'Pagination parameters are invalid'],
]

for (const [query, error, reason] of refused)
  t.test(`${new URLSearchParams(query)} is refused as RabbitMQ does`, async t => {
    const items = named('a b c d e f g h i')
    t.throws(() => listed(items, query), { status: 400, error, reason } as unknown as Refusal)
  })

t.test('items are sorted by a path; what is missing counts as 0', async t => {
  const items = [
    { name: 'a', messages_details: { rate: 2 } },
    { name: 'b' },
    { name: 'c', messages_details: { rate: 0.5 } },
  ]
  const query = { sort: 'messages_details.rate' }
  t.equal(namesOf(listed(items, query)), 'b c a')
  t.equal(namesOf(listed(items, { ...query, sort_reverse: 'true' })), 'a c b')
  t.equal(namesOf(listed(items, { sort: '' })), 'a b c')
  t.equal(namesOf(listed(named('b 10 9'), { sort: 'name' })), '10 9 b')
})

t.test('columns are what is shown of each item, also from within', async t => {
  const item = { name: 'q', message_stats: { publish: 3, ack: 2 }, arguments: {} }
  const columns = 'name,message_stats.publish,nothing,arguments.x,name.y'
  t.strictSame(projected(item, { columns }), { name: 'q', message_stats: { publish: 3 } })
  t.strictSame(projected(item, { columns: 'message_stats.ack,message_stats.publish' }), {
    message_stats: { ack: 2, publish: 3 },
  })
  t.strictSame(projected(item, { columns: '__proto__,toString' }), {})
  t.strictSame(listed([item], { columns: 'name' }), [{ name: 'q' }])
})

t.test('pages side by side are the whole list', async () => {
  const names = fc.array(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 30 })
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 7 }), fc.boolean(), (names, size, reverse) => {
      const items = names.map(name => ({ name }))
      const query = { sort: 'name', sort_reverse: String(reverse) }
      const whole = listed(items, query) as readonly Item[]
      const pages = Array.from({ length: Math.max(1, Math.ceil(names.length / size)) }, (_, i) =>
        listed(items, { ...query, page: `${i + 1}`, page_size: `${size}` }),
      ) as Page[]
      const together = pages.flatMap(page => page.items)
      return JSON.stringify(together) === JSON.stringify(whole)
    }),
    deterministic,
  )
})
