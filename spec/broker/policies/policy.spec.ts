/** What a policy may say, and what it is for. */
import { ok } from 'node:assert'
import t from 'tap'
import type { PolicyKind } from '../../../src/broker/policies/definition.js'
import { Policy, type PolicyRequest } from '../../../src/broker/policies/policy.js'

/** `ok`, or the text behind the name of the reply. */
function verdict(kind: PolicyKind, request: PolicyRequest): string {
  try {
    new Policy(kind, 'p', request)
    return 'ok'
  } catch (error) {
    const { message } = error as Error
    ok(message.startsWith('PRECONDITION_FAILED - '), message)
    return message.slice('PRECONDITION_FAILED - '.length)
  }
}

function definition(definition: unknown, kind: PolicyKind = 'policy'): string {
  return verdict(kind, { pattern: '', definition })
}

const strings = ['', 'name']
const whole = [0, 1, 10, 2 ** 53]
const noWhole = [
  [-1, '-1'],
  [1.5, '1.5'],
  ['5', '<<"5">>'],
  [true, 'true'],
  [null, 'null'],
  [[1, 'a'], '[1,<<"a">>]'],
  [{ a: 1 }, '#{<<"a">> => 1}'],
] as const
const noString = [
  [5, '5'],
  [false, 'false'],
  [['a'], '[<<"a">>]'],
] as const

interface Row {
  readonly taken: readonly unknown[]
  readonly refused: readonly (readonly [unknown, string])[]
  /** Behind "V is not a valid ". */
  readonly what: string
  readonly operator?: true
}

/** Every key of RabbitMQ 4.3, with its words. */
const keys: Readonly<Record<string, Row>> = {
  'alternate-exchange': { taken: strings, refused: noString, what: 'alternate exchange name' },
  'consumer-disconnected-timeout': {
    taken: whole,
    refused: noWhole,
    what: 'consumer disconnected timeout',
  },
  'consumer-timeout': { taken: whole, refused: noWhole, what: 'consumer timeout' },
  'dead-letter-exchange': { taken: strings, refused: noString, what: 'dead letter exchange name' },
  'dead-letter-routing-key': { taken: strings, refused: noString, what: 'dead letter routing key' },
  'dead-letter-strategy': {
    taken: ['at-most-once', 'at-least-once'],
    refused: [...noString, ['never', '<<"never">>']],
    what: 'dead letter strategy',
  },
  'delayed-retry-max': {
    taken: [1, 5],
    refused: [...noWhole, [0, '0']],
    what: 'delayed retry maximum delay. Must be a positive integer',
    operator: true,
  },
  'delayed-retry-min': {
    taken: [1, 5],
    refused: [...noWhole, [0, '0']],
    what: 'delayed retry minimum delay. Must be a positive integer',
    operator: true,
  },
  'delayed-retry-type': {
    taken: ['disabled'],
    refused: [...noString, ['none', '<<"none">>']],
    what: 'delayed retry type. Must be one of: all, failed, returned, disabled',
    operator: true,
  },
  'delivery-limit': {
    taken: [-1, -5, ...whole],
    refused: noWhole.filter(([value]) => value !== -1),
    what: 'delivery limit',
    operator: true,
  },
  expires: {
    taken: [1, 10],
    refused: [...noWhole, [0, '0']],
    what: 'queue expiry',
    operator: true,
  },
  'initial-cluster-size': { taken: whole, refused: noWhole, what: 'cluster size' },
  'max-age': { taken: ['7D'], refused: [...noString, ['7d', '<<"7d">>']], what: 'max age' },
  'max-in-memory-bytes': {
    taken: whole,
    refused: noWhole,
    what: 'maximum memory in bytes',
    operator: true,
  },
  'max-in-memory-length': {
    taken: whole,
    refused: noWhole,
    what: 'maximum memory in bytes',
    operator: true,
  },
  'max-length': { taken: whole, refused: noWhole, what: 'maximum length', operator: true },
  'max-length-bytes': {
    taken: whole,
    refused: noWhole,
    what: 'maximum length in bytes',
    operator: true,
  },
  'member-placement-tag': {
    taken: ['rack'],
    refused: [...noString, ['', '<<>>']],
    what: 'member-placement-tag value. Must be a non-empty string',
    operator: true,
  },
  'message-ttl': { taken: whole, refused: noWhole, what: 'message TTL', operator: true },
  overflow: {
    taken: ['drop-head', 'reject-publish', 'reject-publish-dlx'],
    refused: [...noString, ['drop', '<<"drop">>']],
    what: 'overflow value',
    operator: true,
  },
  'queue-leader-locator': {
    taken: ['client-local', 'balanced', 'random', 'least-leaders'],
    refused: [...noString, ['min-masters', '<<"min-masters">>']],
    what: 'queue leader locator value',
  },
  'queue-mode': {
    taken: ['default', 'lazy'],
    refused: [...noString, ['eager', '<<"eager">>']],
    what: 'queue-mode value',
  },
  'queue-version': {
    taken: [1, 2],
    refused: [
      [3, '3'],
      ['2', '<<"2">>'],
    ],
    what: 'queue-version value',
    operator: true,
  },
  'stream-filter-size-bytes': {
    taken: [16, 255],
    refused: [...noWhole, [15, '15'], [256, '256']],
    what: 'filter size. Valid range is 16-255',
  },
  'stream-max-segment-size-bytes': {
    taken: [0, 3_000_000_000],
    refused: [...noWhole, [3_000_000_001, '3000000001']],
    what: 'segment size',
  },
  'target-group-size': {
    taken: [1, 3],
    refused: [...noWhole, [0, '0']],
    what: 'qq target count value',
    operator: true,
  },
}

/** What 3.x and plug-ins know is taken and kept. */
const others: Readonly<Record<string, unknown>> = {
  'federation-upstream': 'up',
  'federation-upstream-set': 'all',
  'ha-mode': 'exactly',
  'ha-params': 2,
  'ha-sync-mode': 'automatic',
  'ha-promote-on-shutdown': 'always',
  'ha-promote-on-failure': 'always',
  'queue-master-locator': 'min-masters',
}

t.test('every key takes and refuses values as RabbitMQ does', async t => {
  for (const [key, { taken, refused, what }] of Object.entries(keys)) {
    for (const value of taken) t.equal(definition({ [key]: value }), 'ok', key)
    for (const [value, shown] of refused)
      t.equal(definition({ [key]: value }), `${shown} is not a valid ${what}`, key)
  }
  for (const [key, value] of Object.entries(others))
    t.equal(definition({ [key]: value }), 'ok', key)
  t.equal(
    definition({ 'dead-letter-routing-key': 'k'.repeat(256) }),
    `<<"${'k'.repeat(256)}">> is not a valid dead letter routing key`,
    'which no message could have',
  )
})

t.test('an operator policy has only keys that are for it', async t => {
  for (const [key, { taken, operator }] of Object.entries(keys)) {
    const [value] = taken as readonly [unknown]
    const shown = typeof value === 'string' ? `<<${value && `"${value}"`}>>` : value
    t.equal(
      definition({ [key]: value }, 'operator_policy'),
      operator ? 'ok' : `[{<<"${key}">>,${shown}}] are not recognised policy settings`,
    )
  }
})

t.test('the keys of delayed retry hang together', async t => {
  const type = 'delayed-retry-type'
  const [min, max] = ['delayed-retry-min', 'delayed-retry-max']
  t.equal(definition({ [type]: 'all', [min]: 10 }), 'ok')
  t.equal(definition({ [type]: 'all', [min]: 10, [max]: 10 }), 'ok')
  t.equal(
    definition({ [type]: 'all' }),
    'delayed-retry-min is required when delayed-retry-type is all',
  )
  t.equal(
    definition({ [min]: 10, [max]: 9 }),
    'delayed-retry-max (9) must not be smaller than delayed-retry-min (10)',
  )
})

t.test('a definition is an object that says something that is known', async t => {
  t.equal(definition({}), 'no policy provided')
  t.equal(definition([]), 'definition must be a dictionary: []')
  t.equal(definition('max-length'), 'definition must be a dictionary: <<"max-length">>')
  t.equal(
    definition({ 'no-such-key': 1, constructor: { a: ['b', null, 1.5] }, 'max-length': 1 }),
    '[{<<"constructor">>,#{<<"a">> => [<<"b">>,null,1.5]}},{<<"no-such-key">>,1}] are not recognised policy settings',
  )
})

t.test('everything else of a policy is checked too, and all mistakes told', async t => {
  const right = { pattern: '^q', definition: { expires: 1 } }
  t.equal(verdict('policy', { ...right, priority: -1.5, applyTo: 'queues' }), 'ok')
  t.equal(
    verdict('policy', { ...right, priority: '1' }),
    'priority should be a number, actually was <<"1">>',
  )
  t.equal(verdict('policy', { ...right, pattern: 5 }), 'pattern should be a binary but was 5')
  t.equal(
    verdict('policy', { ...right, pattern: 'a'.repeat(1025) }),
    'pattern must not exceed 1024 bytes',
  )
  t.equal(
    verdict('policy', { ...right, pattern: '[' }),
    'pattern should be regular expression but is invalid: {"missing terminating ] for character class",1}',
  )
  const unrecognised =
    "apply-to 'nope' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'"
  t.equal(verdict('policy', { ...right, applyTo: 'nope' }), unrecognised)
  t.equal(
    verdict('policy', { definition: {}, pattern: '(', applyTo: 'nope', priority: null }),
    [
      'no policy provided',
      unrecognised,
      'pattern should be regular expression but is invalid: {"missing )",1}',
      'priority should be a number, actually was null',
    ].join('\n'),
  )
})

t.test('a policy is for what its pattern matches and apply-to names', async t => {
  const forms = ['classic', 'quorum', 'stream', 'exchange'] as const
  const expected = {
    all: ['classic', 'quorum', 'stream', 'exchange'],
    queues: ['classic', 'quorum', 'stream'],
    classic_queues: ['classic'],
    quorum_queues: ['quorum'],
    streams: ['stream'],
    exchanges: ['exchange'],
  }
  for (const [applyTo, whom] of Object.entries(expected)) {
    const policy = new Policy('policy', 'p', {
      pattern: '^(?!amq\\.)a',
      applyTo,
      definition: { 'max-length-bytes': 1 },
    })
    const isFor = (form: (typeof forms)[number], name: string) =>
      form === 'exchange' ? policy.isForExchange(name) : policy.isForQueue(name, form)
    t.strictSame(
      forms.filter(form => isFor(form, 'abc')),
      whom,
    )
    for (const name of ['amq.direct', 'xa', ''])
      t.strictSame(
        forms.filter(form => isFor(form, name)),
        [],
      )
  }
})

t.test('a policy with a key that a type of queue does not know is not for it at all', async t => {
  const unsupported = {
    classic: {
      'max-age': '1D',
      'stream-max-segment-size-bytes': 1,
      'initial-cluster-size': 1,
      'delivery-limit': 1,
      'dead-letter-strategy': 'at-most-once',
      'max-in-memory-length': 1,
      'max-in-memory-bytes': 1,
      'target-group-size': 1,
    },
    quorum: {
      'queue-mode': 'lazy',
      'ha-mode': 'all',
      'ha-params': 1,
      'ha-sync-mode': 'manual',
      'ha-promote-on-shutdown': 'always',
      'ha-promote-on-failure': 'always',
      'queue-master-locator': 'random',
      'max-age': '1D',
      'stream-max-segment-size-bytes': 1,
      'initial-cluster-size': 1,
    },
    stream: {
      expires: 1,
      'message-ttl': 1,
      'dead-letter-exchange': '',
      'dead-letter-routing-key': '',
      'dead-letter-strategy': 'at-most-once',
      'max-length': 1,
      'max-in-memory-length': 1,
      'max-in-memory-bytes': 1,
      overflow: 'drop-head',
      'queue-mode': 'lazy',
      'delivery-limit': 1,
      'ha-mode': 'all',
      'ha-params': 1,
      'ha-sync-mode': 'manual',
      'ha-promote-on-shutdown': 'always',
      'ha-promote-on-failure': 'always',
      'queue-master-locator': 'random',
      'target-group-size': 1,
    },
  }
  const all = { ...unsupported.classic, ...unsupported.quorum, ...unsupported.stream }
  for (const type of ['classic', 'quorum', 'stream'] as const)
    for (const [key, value] of Object.entries({ ...all, 'max-length-bytes': 1 })) {
      const policy = new Policy('policy', 'p', {
        pattern: '',
        definition: { [key]: value, 'max-length-bytes': 9 },
      })
      t.equal(policy.isForQueue('q', type), !(key in unsupported[type]), `${key} on ${type}`)
    }
})
