/** Queue arguments: for each type of queue which are taken, and with which words others are refused. */
import { ok } from 'node:assert'
import t from 'tap'
import { checkArguments, knownArguments } from '../../../src/broker/queues/arguments.js'
import { type FieldTable, type FieldValue, fieldTable } from '../../../src/wire/field-table.js'

const text = (value: string): FieldValue => ({ type: 'S', value: Buffer.from(value) })
const int = (value: number): FieldValue => ({ type: 'I', value })
const long = (value: number | bigint): FieldValue => ({ type: 'l', value })
const flag = (value: boolean): FieldValue => ({ type: 't', value })

type Type = 'classic' | 'quorum' | 'stream'
const classic: readonly Type[] = ['classic']
const quorum: readonly Type[] = ['quorum']
const stream: readonly Type[] = ['stream']
const both: readonly Type[] = ['classic', 'quorum']
const all: readonly Type[] = ['classic', 'quorum', 'stream']

/** Values of every integer letter. */
const integers = (value: number): FieldValue[] => [
  ...(['b', 's', 'I', 'i', 'B', 'u'] as const).map(type => ({ type, value })),
  long(value),
]

const noInteger: readonly (readonly [FieldValue, string])[] = [
  [text('1000'), '"expected integer, got longstr"'],
  [{ type: 'd', value: 1 }, '"expected integer, got double"'],
  [{ type: 'D', value: { scale: 0, digits: 1 } }, '"expected integer, got decimal"'],
  [{ type: 'T', value: 1 }, '"expected integer, got timestamp"'],
  [{ type: 'V', value: null }, '"expected integer, got void"'],
]

const negative = [
  [int(-1), '{value_negative,-1}'],
  [long(-(2n ** 63n)), '{value_negative,-9223372036854775808}'],
] as const

const noText: readonly (readonly [FieldValue, string])[] = [
  [int(1), '{unacceptable_type,signedint}'],
  [flag(true), '{unacceptable_type,bool}'],
  [{ type: 'x', value: Buffer.from('a') }, '{unacceptable_type,binary}'],
  [{ type: 'F', value: [] }, '{unacceptable_type,table}'],
]

const tenYears = 315_360_000_000

interface Row {
  readonly types: readonly Type[]
  readonly taken: readonly FieldValue[]
  /** Values with the reason of the refusal. */
  readonly refused: readonly (readonly [FieldValue, string])[]
  /** What must stand beside it. */
  readonly beside?: FieldTable
}

const matrix: Readonly<Record<string, Row>> = {
  'x-message-ttl': {
    types: both,
    taken: [...integers(0), ...integers(100), long(tenYears)],
    refused: [
      ...negative,
      ...noInteger,
      [long(tenYears + 1), '{value_too_large,315360000001}'],
      [long(2n ** 62n), '{value_too_large,4611686018427387904}'],
    ],
  },
  'x-expires': {
    types: both,
    taken: [...integers(1), long(tenYears)],
    refused: [
      ...negative,
      ...noInteger,
      [int(0), '{value_zero,0}'],
      [long(tenYears + 1), '{value_too_large,315360000001}'],
    ],
  },
  'x-max-length': {
    types: both,
    taken: [...integers(0), ...integers(9), long(2n ** 62n)],
    refused: [...negative, ...noInteger],
  },
  'x-max-length-bytes': {
    types: all,
    taken: [...integers(0), long(2 ** 53 - 1)],
    refused: [...negative, ...noInteger],
  },
  'x-overflow': {
    types: both,
    taken: ['drop-head', 'reject-publish', 'reject-publish-dlx'].map(text),
    refused: [...noText, [text('drop-tail'), 'invalid_overflow'], [text(''), 'invalid_overflow']],
  },
  'x-dead-letter-exchange': {
    types: both,
    taken: ['', 'dead', 'amq.fanout'].map(text),
    refused: [],
  },
  'x-dead-letter-routing-key': {
    types: both,
    taken: ['', 'key', 'k'.repeat(255)].map(text),
    refused: [...noText, [text('k'.repeat(256)), '{value_too_large,256}']],
    beside: fieldTable({ 'x-dead-letter-exchange': '' }),
  },
  'x-dead-letter-strategy': {
    types: quorum,
    taken: ['at-most-once', 'at-least-once'].map(text),
    refused: [...noText, [text('exactly-once'), 'invalid_dlx_strategy']],
  },
  'x-max-priority': {
    types: classic,
    taken: [...integers(0), ...integers(10), { type: 'B', value: 255 }],
    refused: [...negative, ...noInteger, [int(256), '{max_value_exceeded,256}']],
  },
  'x-single-active-consumer': {
    types: both,
    taken: [flag(true), flag(false)],
    refused: [
      [int(1), '{unacceptable_type,signedint}'],
      [text('true'), '{unacceptable_type,longstr}'],
    ],
  },
  'x-delivery-limit': {
    types: both,
    taken: [...integers(0), ...integers(20), int(-1)],
    refused: noInteger,
  },
  'x-consumer-timeout': {
    types: both,
    taken: [...integers(0), int(1_800_000)],
    refused: [...negative, ...noInteger],
  },
  'x-consumer-disconnected-timeout': {
    types: quorum,
    taken: [...integers(0), int(60_000)],
    refused: [...negative, ...noInteger],
  },
  'x-delayed-retry-type': {
    types: quorum,
    taken: ['all', 'failed', 'returned', 'disabled'].map(text),
    refused: [...noText, [text('none'), 'invalid_delayed_retry_type']],
  },
  'x-delayed-retry-min': {
    types: quorum,
    taken: integers(1),
    refused: [...negative, ...noInteger, [int(0), '{value_zero,0}']],
  },
  'x-delayed-retry-max': {
    types: quorum,
    taken: integers(1),
    refused: [...negative, ...noInteger, [int(0), '{value_zero,0}']],
  },
  'x-queue-mode': {
    types: classic,
    taken: ['default', 'lazy'].map(text),
    refused: [...noText, [text('foo'), '"unsupported queue mode \'foo\'"']],
  },
  'x-queue-version': {
    types: classic,
    taken: [...integers(1), ...integers(2)],
    refused: [...negative, ...noInteger, [int(3), '"unsupported queue version \'3\'"']],
  },
  'x-queue-leader-locator': {
    types: all,
    taken: ['client-local', 'balanced', 'random', 'least-leaders', 'min-masters'].map(text),
    refused: [...noText, [text('here'), 'invalid_queue_locator_arg']],
  },
  'x-queue-master-locator': {
    types: classic,
    taken: [text('client-local'), text('min-masters'), text('')],
    refused: [],
  },
  'x-quorum-initial-group-size': {
    types: quorum,
    taken: integers(3),
    refused: [...negative, ...noInteger, [int(0), '{value_zero,0}']],
  },
  'x-max-in-memory-length': {
    types: quorum,
    taken: integers(0),
    refused: [...negative, ...noInteger],
  },
  'x-max-in-memory-bytes': {
    types: quorum,
    taken: integers(0),
    refused: [...negative, ...noInteger],
  },
  'x-member-placement-tag': {
    types: quorum,
    taken: [text('rack-1')],
    refused: [...noText, [text(''), 'invalid_member_placement_tag_arg']],
  },
  'x-max-age': {
    types: stream,
    taken: ['1Y', '2M', '7D', '12h', '30m', '007s'].map(text),
    refused: [
      ...noText,
      ...['', '7', 'D', '7d', '0D', '-1D', '1 D', '1DD'].map(
        age => [text(age), 'invalid_max_age'] as const,
      ),
    ],
  },
  'x-stream-max-segment-size-bytes': {
    types: stream,
    taken: [int(0), long(3_000_000_000)],
    refused: [...negative, ...noInteger, [long(3_000_000_001), '"Exceeded max value"']],
  },
  'x-stream-filter-size-bytes': {
    types: stream,
    taken: [int(16), int(255)],
    refused: [
      ...negative,
      ...noInteger,
      [int(15), '"Invalid value"'],
      [int(256), '"Invalid value"'],
    ],
  },
  'x-initial-cluster-size': {
    types: stream,
    taken: integers(1),
    refused: [...negative, ...noInteger, [int(0), '{value_zero,0}']],
  },
}

const queue = "queue 'q' in vhost '/'"

/** What the check of these arguments says: `ok`, or the text behind the name of the reply. */
function verdict(table: FieldTable): string {
  try {
    checkArguments(table, queue)
    return 'ok'
  } catch (error) {
    const { message } = error as Error
    ok(message.startsWith('PRECONDITION_FAILED - '), message)
    return message.slice('PRECONDITION_FAILED - '.length)
  }
}

for (const type of all) {
  t.test(`a ${type} queue takes and refuses arguments by the matrix`, async t => {
    // A type that is not built is refused when all else is right.
    const right = verdict([{ key: 'x-queue-type', value: text(type) }])
    for (const [key, { types, taken, refused, beside = [] }] of Object.entries(matrix)) {
      const asked = (value: FieldValue): FieldTable => [
        { key: 'x-queue-type', value: text(type) },
        ...beside.filter(({ key }) => matrix[key]?.types.includes(type)),
        { key, value },
      ]
      if (types.includes(type)) {
        for (const value of taken) t.equal(verdict(asked(value)), right, key)
        for (const [value, reason] of refused)
          t.equal(verdict(asked(value)), `invalid arg '${key}' for ${queue}: ${reason}`)
      } else
        for (const value of taken)
          t.equal(
            verdict(asked(value)),
            `invalid arg '${key}' for ${queue} of queue type rabbit_${type}_queue`,
          )
    }
    const known = Object.keys(matrix).filter(key => matrix[key]?.types.includes(type))
    t.strictSame([...knownArguments[type]].sort(), [...known, 'x-queue-type'].sort())
  })
}

t.test('the type of a queue is one that there is, or none', async t => {
  for (const type of ['classic', '', 'undefined'])
    t.equal(verdict(fieldTable({ 'x-queue-type': type })), 'ok')
  const refused = (reason: string) => `invalid arg 'x-queue-type' for ${queue}: ${reason}`
  for (const type of ['heap', 'Classic', 'rabbit_classic_queue'])
    t.equal(
      verdict(fieldTable({ 'x-queue-type': type })),
      refused(`"unsupported queue type '${type}'"`),
    )
  for (const [value, reason] of noText)
    t.equal(verdict([{ key: 'x-queue-type', value }]), refused(reason))
  t.equal(
    verdict(fieldTable({ 'x-queue-type': 'stream' })),
    refused('"unsupported queue type \'stream\'"'),
    'there are no streams yet',
  )
})

t.test('a dead letter exchange that is no text is refused with words of its own', async t => {
  for (const [value, , name] of [
    [int(1), '', 'signedint'],
    [flag(true), '', 'bool'],
  ] as const)
    t.equal(
      verdict([{ key: 'x-dead-letter-exchange', value }]),
      `invalid type '${name}' for arg 'x-dead-letter-exchange' in ${queue}`,
    )
})

t.test('a dead letter routing key needs an exchange', async t => {
  t.equal(
    verdict(fieldTable({ 'x-dead-letter-routing-key': 'k' })),
    `invalid arg 'x-dead-letter-routing-key' for ${queue}: routing_key_but_no_dlx_defined`,
  )
})

t.test('what nobody knows is taken, whatever it is', async t => {
  for (const key of ['x-whatever', 'x-name', 'constructor', '__proto__', 'message-ttl', ''])
    for (const value of [int(-1), text(''), flag(true)]) t.equal(verdict([{ key, value }]), 'ok')
})

t.test(
  'of several mistakes the first of the table is told, and of two values the first',
  async t => {
    const reason = "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"
    t.equal(verdict(fieldTable({ 'x-max-age': 1, 'x-max-length': -1, 'x-expires': 0 })), reason)
    const twice = (first: number, second: number): FieldTable => [
      { key: 'x-expires', value: int(first) },
      { key: 'x-expires', value: int(second) },
    ]
    t.equal(verdict(twice(0, 1)), reason)
    t.equal(verdict(twice(1, 0)), 'ok')
  },
)
