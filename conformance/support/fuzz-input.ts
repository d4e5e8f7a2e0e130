import fc from 'fast-check'
import {
  BODY,
  contentFrames,
  type Entry,
  encodeHeader,
  encodeProperties,
  frame,
  HEADER,
  HEARTBEAT,
  METHOD,
  type MethodName,
  methodFrame,
  methods,
  type Properties,
  table,
  type Values,
} from './raw-codec.js'

/** What one try sends, and in which pieces. */
export interface FuzzInput {
  /** 'open' on a connection whose channels 1 to 3 are open, 'handshake' on a new socket. */
  readonly phase: 'open' | 'handshake'
  readonly bytes: Buffer
  /** Sizes of the first pieces; the rest goes at once. */
  readonly splits: readonly number[]
}

/** Names that tries share, so that they meet each other's queues and exchanges. */
export const queueNames = ['q1', 'q2', 'q3', 'q4', 'q5', 'q6', 'q7', 'q8'] as const
export const exchangeNames = ['x1', 'x2', 'x3', 'x4'] as const

// ------------------------------------------------------------------------------------------------ recordings

const queue = 'q1'
const declare = (channel: number, values: Values<'queue.declare'>) =>
  methodFrame(channel, 'queue.declare', values)
const publish = (
  channel: number,
  key: string,
  body: string,
  properties: Properties = {},
  exchange = '',
) => [
  methodFrame(channel, 'basic.publish', { exchange, routingKey: key, mandatory: true }),
  contentFrames(channel, Buffer.from(body), properties),
]

/** Sessions as a client would send them, one frame (or content) each, from where channels 1 to 3 are open. */
const sessions: readonly (readonly Buffer[])[] = [
  // Publish, consume, settle.
  [
    declare(1, { queue, durable: true }),
    methodFrame(1, 'basic.qos', { prefetchCount: 10 }),
    methodFrame(1, 'basic.consume', { queue, consumerTag: 'c1' }),
    ...publish(1, queue, 'first', { deliveryMode: 2, messageId: 'm1' }),
    ...publish(1, queue, 'second', { headers: table({ a: 1, b: 'x', c: true }) }),
    ...publish(1, queue, ''),
    methodFrame(1, 'basic.ack', { deliveryTag: 1 }),
    methodFrame(1, 'basic.nack', { deliveryTag: 2, requeue: true }),
    methodFrame(1, 'basic.cancel', { consumerTag: 'c1' }),
    methodFrame(1, 'basic.recover', { requeue: true }),
    methodFrame(1, 'queue.purge', { queue }),
  ],
  // Confirms, returns, get.
  [
    methodFrame(1, 'confirm.select'),
    declare(1, {
      queue: 'q2',
      arguments: table({ 'x-max-length': 5, 'x-overflow': 'reject-publish' }),
    }),
    ...publish(1, 'q2', 'a'.repeat(300)),
    ...publish(1, 'nobody', 'returned', { expiration: '1000', replyTo: 'q2' }),
    ...publish(1, 'q2', 'copies', {
      headers: [
        ['CC', 'A', [['S', 'q1']]],
        ['BCC', 'A', [['S', 'q3']]],
      ],
    }),
    methodFrame(1, 'basic.get', { queue: 'q2' }),
    methodFrame(1, 'basic.reject', { deliveryTag: 1, requeue: true }),
    methodFrame(1, 'basic.get', { queue: 'q2', noAck: true }),
  ],
  // A transaction.
  [
    methodFrame(1, 'tx.select'),
    declare(1, { queue: 'q3', autoDelete: true }),
    ...publish(1, 'q3', 'held'),
    methodFrame(1, 'tx.commit'),
    methodFrame(1, 'basic.get', { queue: 'q3' }),
    methodFrame(1, 'basic.ack', { deliveryTag: 1 }),
    methodFrame(1, 'tx.rollback'),
    methodFrame(1, 'basic.ack', { multiple: true }),
    methodFrame(1, 'tx.commit'),
  ],
  // Exchanges and bindings of every kind.
  [
    methodFrame(1, 'exchange.declare', {
      exchange: 'x1',
      type: 'topic',
      arguments: table({ 'alternate-exchange': 'x2' }),
    }),
    methodFrame(1, 'exchange.declare', { exchange: 'x2', type: 'fanout', autoDelete: true }),
    methodFrame(1, 'exchange.declare', { exchange: 'x3', type: 'headers' }),
    methodFrame(1, 'exchange.bind', { destination: 'x2', source: 'x1', routingKey: '#' }),
    methodFrame(1, 'exchange.bind', { destination: 'x1', source: 'x2' }),
    declare(1, { queue: 'q4', exclusive: true }),
    methodFrame(1, 'queue.bind', { exchange: 'x1', routingKey: 'a.*.#.b' }),
    methodFrame(1, 'queue.bind', {
      queue: 'q4',
      exchange: 'x3',
      arguments: table({ 'x-match': 'any', a: 1 }),
    }),
    ...publish(1, 'a.b.c.b', 'routed', {}, 'x1'),
    ...publish(1, '', 'by headers', { headers: table({ a: 1 }) }, 'x3'),
    methodFrame(1, 'queue.unbind', { queue: 'q4', exchange: 'x1', routingKey: 'a.*.#.b' }),
    methodFrame(1, 'exchange.unbind', { destination: 'x2', source: 'x1', routingKey: '#' }),
    methodFrame(1, 'exchange.delete', { exchange: 'x3' }),
    methodFrame(1, 'queue.delete', { queue: 'q4' }),
  ],
  // Dead letters, expiry, priorities, a second channel.
  [
    declare(2, {
      queue: 'q5',
      arguments: table({
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'q6',
        'x-message-ttl': 5,
        'x-max-priority': 10,
      }),
    }),
    declare(1, {
      queue: 'q6',
      arguments: table({
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'q5',
        'x-message-ttl': 5,
        'x-expires': 1000,
      }),
    }),
    ...publish(2, 'q5', 'low', { priority: 1 }),
    ...publish(1, 'q5', 'high', { priority: 9, expiration: '3' }),
    methodFrame(2, 'basic.get', { queue: 'q5' }),
    methodFrame(2, 'basic.reject', { deliveryTag: 1 }),
    methodFrame(1, 'basic.consume', { queue: 'q6', noAck: true, nowait: true, consumerTag: 'd' }),
    methodFrame(2, 'channel.close', { replyCode: 200, replyText: 'bye' }),
    methodFrame(1, 'channel.flow', { active: true }),
  ],
  // A body in fragments between the frames of another channel; direct reply-to.
  [
    methodFrame(1, 'basic.publish', { routingKey: 'q7' }),
    frame(HEADER, 1, encodeHeader({ size: 9, properties: { contentType: 'text/plain' } })),
    frame(BODY, 1, Buffer.from('abc')),
    declare(2, { queue: 'q7' }),
    frame(HEARTBEAT, 0),
    frame(BODY, 1),
    frame(BODY, 1, Buffer.from('defghi')),
    methodFrame(2, 'basic.consume', { queue: 'amq.rabbitmq.reply-to', noAck: true }),
    ...publish(2, 'q7', 'request', { replyTo: 'amq.rabbitmq.reply-to', correlationId: '1' }),
    methodFrame(2, 'basic.get', { queue: 'q7', noAck: true }),
    methodFrame(0, 'connection.update-secret', { newSecret: 's', reason: 'r' }),
    methodFrame(1, 'access.request', { realm: '/data' }),
  ],
]

/** A session from its first byte. */
const handshake: readonly Buffer[] = [
  Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'),
  methodFrame(0, 'connection.start-ok', {
    clientProperties: table({ product: 'fuzz', capabilities: { consumer_cancel_notify: true } }),
    mechanism: 'PLAIN',
    response: '\0guest\0guest',
    locale: 'en_US',
  }),
  methodFrame(0, 'connection.tune-ok', { channelMax: 100, frameMax: 4096, heartbeat: 1 }),
  methodFrame(0, 'connection.open', { vhost: '/' }),
  methodFrame(1, 'channel.open'),
  ...sessions[0]!,
  methodFrame(0, 'connection.close', { replyCode: 200, replyText: 'OK' }),
]

// -------------------------------------------------------------------------------------------------- mutation

type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'set'; readonly at: number; readonly value: number }
  | { readonly kind: 'length'; readonly piece: number; readonly by: number }
  | { readonly kind: 'swap'; readonly piece: number; readonly with: number }
  | { readonly kind: 'repeat'; readonly piece: number }
  | { readonly kind: 'drop'; readonly piece: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly at: number }
  | { readonly kind: 'channel'; readonly piece: number; readonly channel: number }

const place = fc.nat(0xffff)

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat(7) }),
  fc.record({
    kind: fc.constant('set' as const),
    at: place,
    value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xce, 0xff),
  }),
  fc.record({
    kind: fc.constant('length' as const),
    piece: place,
    by: fc.integer({ min: -9, max: 9 }),
  }),
  fc.record({ kind: fc.constant('swap' as const), piece: place, with: place }),
  fc.record({ kind: fc.constant('repeat' as const), piece: place }),
  fc.record({ kind: fc.constant('drop' as const), piece: place }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }).map(bytes => Buffer.from(bytes)),
  }),
  fc.record({ kind: fc.constant('truncate' as const), at: place }),
  fc.record({
    kind: fc.constant('channel' as const),
    piece: place,
    channel: fc.constantFrom(0, 1, 2, 3, 65_535),
  }),
)

/** A recording after these mutations. */
function mutated(recording: readonly Buffer[], mutations: readonly Mutation[]): Buffer {
  const pieces = recording.map(piece => Buffer.from(piece))
  for (const m of mutations) {
    if (pieces.length === 0) break
    const i = 'piece' in m ? m.piece % pieces.length : 0
    const piece = pieces[i]!
    if (m.kind === 'swap') {
      const j = m.with % pieces.length
      pieces[i] = pieces[j]!
      pieces[j] = piece
    } else if (m.kind === 'repeat') pieces.splice(i, 0, Buffer.from(piece))
    else if (m.kind === 'drop') pieces.splice(i, 1)
    else if (m.kind === 'length' && piece.length >= 7)
      piece.writeUInt32BE(Math.max(0, piece.readUInt32BE(3) + m.by), 3)
    else if (m.kind === 'channel' && piece.length >= 7) piece.writeUInt16BE(m.channel, 1)
  }
  let bytes = Buffer.concat(pieces)
  for (const m of mutations) {
    if (bytes.length === 0) break
    if (m.kind === 'flip') bytes[m.at % bytes.length]! ^= 1 << m.bit
    else if (m.kind === 'set') bytes[m.at % bytes.length] = m.value
    else if (m.kind === 'truncate') bytes = bytes.subarray(0, m.at % bytes.length)
    else if (m.kind === 'insert') {
      const at = m.at % bytes.length
      bytes = Buffer.concat([bytes.subarray(0, at), m.bytes, bytes.subarray(at)])
    }
  }
  return bytes
}

const mutatedSession = (recordings: readonly (readonly Buffer[])[]) =>
  fc
    .tuple(fc.constantFrom(...recordings), fc.array(mutation, { minLength: 0, maxLength: 4 }))
    .map(([recording, mutations]) => mutated(recording, mutations))

// ------------------------------------------------------------------------------------------------ generation

const anyBytes = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map(bytes => Buffer.from(bytes))

const name = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom<string | Buffer>(...queueNames, ...exchangeNames) },
  {
    weight: 6,
    arbitrary: fc.constantFrom<string | Buffer>(
      '',
      'amq.direct',
      'amq.topic',
      'amq.headers',
      'amq.fanout',
      'amq.rabbitmq.trace',
      'amq.rabbitmq.reply-to',
      'amq.gen-none',
      'a.b.c',
      '#.a.#.*.#',
      '*.*',
      'c1',
      'PLAIN',
      'direct',
      'topic',
      'fanout',
      'headers',
      'n'.repeat(255),
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 1, arbitrary: anyBytes(60) },
)

const knownKey = fc.constantFrom(
  'x-message-ttl',
  'x-expires',
  'x-max-length',
  'x-max-length-bytes',
  'x-overflow',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-max-priority',
  'x-queue-type',
  'x-queue-mode',
  'x-single-active-consumer',
  'x-priority',
  'x-cancel-on-ha-failover',
  'alternate-exchange',
  'x-match',
  'x-death',
  'CC',
  'BCC',
  'LOGIN',
  'capabilities',
)

const wide = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 300n }),
)

const { entries } = fc.letrec<{ value: readonly [string, unknown]; entries: readonly Entry[] }>(
  tie => ({
    value: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      fc.tuple(fc.constantFrom('S', 'x'), name),
      fc.tuple(fc.constantFrom('b', 'B', 's', 'u', 'I', 'i', 'l', 'L', 'T'), wide),
      fc.tuple(fc.constant('t'), fc.boolean()),
      fc.tuple(fc.constantFrom('f', 'd'), fc.double()),
      fc.tuple(fc.constant('D'), fc.tuple(fc.nat(255), fc.nat())),
      fc.tuple(fc.constant('V'), fc.constant(null)),
      fc.tuple(fc.constantFrom('U', 'Z', '\0'), anyBytes(4)),
      fc.tuple(fc.constant('A'), fc.array(tie('value'), { maxLength: 4 })),
      fc.tuple(fc.constant('F'), tie('entries')),
    ) as fc.Arbitrary<readonly [string, unknown]>,
    entries: fc.array(
      fc
        .tuple(
          fc.oneof({ weight: 4, arbitrary: knownKey }, fc.string({ maxLength: 12 })),
          tie('value'),
        )
        .map(([key, [letter, value]]): Entry => [key, letter, value]),
      { maxLength: 4 },
    ),
  }),
)

const fieldOf = {
  o: fc.nat(255),
  s: fc.oneof(fc.constantFrom(0, 1, 65_535), fc.nat(65_535)),
  l: fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.nat(0xffff_ffff)),
  q: fc.oneof({ weight: 4, arbitrary: fc.bigInt({ min: 0n, max: 6n }) }, wide),
  str: name,
  lstr: name,
  T: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, entries),
  b: fc.boolean(),
} as const

const methodOf = (method: MethodName) =>
  fc
    .record(
      Object.fromEntries(
        Object.entries(methods[method].fields).map(([field, type]) => [
          field,
          fieldOf[type as keyof typeof fieldOf],
        ]),
      ) as Record<string, fc.Arbitrary<unknown>>,
    )
    .map(values => [method, values as Values<MethodName>] as const)

const everyMethod = Object.keys(methods) as MethodName[]
const usual = everyMethod.filter(
  method =>
    /^(exchange|queue|basic|confirm|tx)\./.test(method) &&
    !/-ok$|get-empty|deliver|return/.test(method),
)

const channel = fc.oneof(
  { weight: 12, arbitrary: fc.constant(1) },
  { weight: 2, arbitrary: fc.constant(2) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3, 65_535) },
)

const properties: fc.Arbitrary<Properties> = fc.record(
  {
    contentType: fc.string({ maxLength: 10 }),
    headers: entries,
    deliveryMode: fc.nat(3),
    priority: fc.nat(255),
    correlationId: fc.string({ maxLength: 10 }),
    replyTo: fc.constantFrom('q1', 'amq.rabbitmq.reply-to', 'amq.rabbitmq.reply-to.x'),
    expiration: fc.constantFrom('0', '1', '50', '-1', 'x', '99999999999999'),
    timestamp: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    userId: fc.constantFrom('guest', 'bob'),
    clusterId: fc.string({ maxLength: 5 }),
  },
  { requiredKeys: [] },
)

/** A frame, or a content as a whole. */
const anyFrame = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(channel, fc.constantFrom(...usual).chain(methodOf))
      .map(([number, [method, values]]) =>
        method === 'basic.publish'
          ? Buffer.concat([
              methodFrame(number, method, values),
              contentFrames(number, Buffer.from('x')),
            ])
          : methodFrame(number, method, values),
      ),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(channel, name, name, fc.boolean(), properties, anyBytes(100))
      .map(([number, exchange, routingKey, mandatory, props, body]) =>
        Buffer.concat([
          methodFrame(number, 'basic.publish', { exchange, routingKey, mandatory }),
          contentFrames(number, body, props),
        ]),
      ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(channel, fc.constantFrom(...everyMethod).chain(methodOf))
      .map(([number, [method, values]]) => methodFrame(number, method, values)),
  },
  // The fields of a method replaced by noise.
  {
    weight: 1,
    arbitrary: fc
      .tuple(channel, fc.constantFrom(...everyMethod), anyBytes(30))
      .map(([number, method, noise]) => {
        const [classId, methodId] = methods[method].id
        return frame(METHOD, number, Buffer.concat([Buffer.from([0, classId, 0, methodId]), noise]))
      }),
  },
  // Properties replaced by noise.
  {
    weight: 1,
    arbitrary: fc
      .tuple(channel, anyBytes(30))
      .map(([number, noise]) =>
        Buffer.concat([
          methodFrame(number, 'basic.publish', { routingKey: 'q1' }),
          frame(HEADER, number, encodeHeader({ size: 0, properties: noise })),
        ]),
      ),
  },
  // A header or a body out of place, of any size.
  {
    weight: 1,
    arbitrary: fc
      .tuple(channel, properties, wide)
      .map(([number, props, size]) =>
        frame(HEADER, number, encodeHeader({ size, properties: encodeProperties(props) })),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(channel, anyBytes(40)).map(([n, body]) => frame(BODY, n, body)),
  },
  { weight: 1, arbitrary: fc.constant(frame(HEARTBEAT, 0)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(255), fc.nat(65_535), anyBytes(40))
      .map(([type, n, payload]) => frame(type, n, payload)),
  },
  // No frame at all.
  { weight: 1, arbitrary: anyBytes(40) },
)

const splits = fc.oneof(
  { weight: 3, arbitrary: fc.constant<number[]>([]) },
  fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 6 }),
)

const input: fc.Arbitrary<FuzzInput> = fc.oneof(
  {
    weight: 55,
    arbitrary: fc.record({
      phase: fc.constant('open' as const),
      bytes: fc
        .array(anyFrame, { minLength: 1, maxLength: 5 })
        .map(frames => Buffer.concat(frames)),
      splits,
    }),
  },
  {
    weight: 38,
    arbitrary: fc.record({
      phase: fc.constant('open' as const),
      bytes: mutatedSession(sessions),
      splits,
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      phase: fc.constant('handshake' as const),
      bytes: fc.oneof({ weight: 4, arbitrary: mutatedSession([handshake]) }, anyBytes(200)),
      splits,
    }),
  },
)

const batch = 200

/** Input after input; number i is the same whenever the seed is. */
export function* fuzzInputs(
  seed: number,
  from: number,
  to: number,
): Generator<readonly [number, FuzzInput]> {
  for (let first = from - (from % batch); first < to; first += batch) {
    const drawn = fc.sample(input, { seed: seed + first, numRuns: batch })
    for (const [i, one] of drawn.entries()) {
      const number = first + i
      if (number >= from && number < to) yield [number, one]
    }
  }
}
