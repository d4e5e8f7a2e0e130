/** Publishing and getting messages over HTTP: for looking and trying, not for work. */
import { isUtf8 } from 'node:buffer'
import type { Broker } from '../broker/broker.js'
import { expirationMsOf } from '../broker/expiration.js'
import type { LogWaiter } from '../broker/journal.js'
import { exchangeIn } from '../broker/names.js'
import { Got, type Queue } from '../broker/queues/queue.js'
import { senderSelectedKeys } from '../broker/sender-selected.js'
import { Outcome, type Vhost } from '../broker/vhost.js'
import { Mark } from '../store/message-table.js'
import { frameHead } from '../wire/frame-parser.js'
import { type Message, messageOf } from '../wire/message.js'
import { decodeProperties, encodeProperties } from '../wire/properties.js'
import { AmqpError, replies } from '../wire/replies.js'
import { exchangeName } from './bindings.js'
import { propertiesJson, propertiesOf } from './json.js'
import type { Item } from './listing.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, type Route, required, table, text } from './route.js'
import { vhostForChange } from './vhosts.js'

const persistentMode = 2

/** A shortstr on the wire. */
const keyBytesMax = 255

export function messageRoutes(broker: Broker): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/exchanges/:vhost/:exchange/publish',
      allowed: 'management',
      does: 'Publishes a message, and tells whether it reached a queue.',
      handle: call => asAmqp(() => publish(broker, call)),
    },
    {
      method: 'POST',
      path: '/queues/:vhost/:queue/get',
      allowed: 'management',
      does: 'Gets messages from a queue; unless they are acknowledged they go back to it.',
      handle: call => get(broker, call),
    },
  ]
}

/** Who publishes over HTTP hears a refusal of AMQP with its code. */
async function asAmqp<T>(publish: () => T): Promise<Awaited<T>> {
  try {
    return await publish()
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
    throw badRequest(`${replies[error.reply].code} ${error.message}`)
  }
}

function publish(broker: Broker, call: Call): Promise<Item> | Item {
  const vhost = vhostForChange(broker, call)
  for (const key of ['properties', 'routing_key', 'payload', 'payload_encoding'])
    required(call, key)
  const properties = propertiesOf(table(call, 'properties'))
  const key = text(call, 'routing_key')
  if (Buffer.byteLength(key) > keyBytesMax) throw badRequest('routing_key is too long')
  const body = payloadIn(call)
  const rights = broker.access.rights(call.visitor.name, vhost.name)
  const name = exchangeName(call.params.exchange ?? '')
  rights.check('write', 'exchange', name)
  const message = messageOf(name, key, encodeProperties(properties), body)
  const route = vhost.router.route(message, null)
  if (route.exchange.internal)
    throw new AmqpError(
      'ACCESS_REFUSED',
      `cannot publish to internal ${exchangeIn(vhost.name, name)}`,
    )
  rights.checkTopic('write', route.exchange, key)
  const { arrival } = vhost
  arrival.message.same(message)
  const { deliveryMode, priority, expiration, headers = [], userId } = properties
  if (userId !== undefined && userId !== call.visitor.name && !call.visitor.impersonates)
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `user_id property set to '${userId}' but authenticated user was '${call.visitor.name}'`,
    )
  const further = senderSelectedKeys(headers)
  const ttlMs = expiration === undefined ? -1 : expirationMsOf(expiration)
  const persistent = deliveryMode === persistentMode ? Mark.persistent : 0
  const rank = priority === undefined ? 0 : priority | Mark.prioritised
  arrival.begin(rank | persistent, ttlMs, true)
  if (further.length > 0) arrival.hideBcc()
  const outcome = vhost.publish(route, arrival, further.length > 0 ? further : null)
  if ((outcome & Outcome.refused) !== 0) throw badRequest('rejected')
  const answer = { routed: outcome !== Outcome.unroutable }
  return arrival.loggedAs === 0 ? answer : durable(vhost, arrival.loggedAs, answer)
}

function payloadIn(call: Call): Buffer {
  const payload = call.body.payload
  const encoding = call.body.payload_encoding
  if (typeof payload !== 'string') throw badRequest('payload_not_string')
  if (encoding === 'string') return Buffer.from(payload)
  if (encoding === 'base64') return Buffer.from(payload, 'base64')
  throw badRequest(`unsupported_encoding: ${encoding}`)
}

/** Resolves when the log is durable up to this number, as a publisher confirm is. */
function durable<T>({ journal }: Vhost, number: number, answer: T): Promise<T> | T {
  if (number <= journal.durableUpTo) return answer
  return new Promise((resolve, reject) => {
    const waiter: LogWaiter = {
      durable() {
        if (journal.durableUpTo < number) return true
        resolve(answer)
        return false
      },
      failed(from, refused) {
        if (from > number) return true
        refused.add(number)
        reject(badRequest('the message cannot be kept'))
        return false
      },
    }
    journal.wait(waiter)
  })
}

// --- get

/** What becomes of what was shown: ack or reject, requeue or not. */
const modes = [
  'ack_requeue_true',
  'ack_requeue_false',
  'reject_requeue_true',
  'reject_requeue_false',
]

/** A message in hand. */
interface Held {
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

async function get(broker: Broker, call: Call): Promise<readonly Item[]> {
  const vhost = vhostForChange(broker, call)
  const mode = modeIn(call)
  const count = countIn(required(call, 'count'))
  const encoding = text(call, 'encoding')
  const truncate =
    call.body.truncate === undefined ? Number.POSITIVE_INFINITY : countIn(call.body.truncate)
  if (encoding !== 'auto' && encoding !== 'base64')
    throw badRequest(`unsupported encoding: ${encoding}`)
  const queue = vhost.queues.get(call.params.queue ?? '')
  if (queue === undefined)
    throw notFound(`NOT_FOUND - no queue '${call.params.queue}' in vhost '${vhost.name}'`)
  broker.access.rights(call.visitor.name, vhost.name).check('read', 'queue', queue.name)
  const items: Item[] = []
  const held: Held[] = []
  try {
    await take(queue, count, mode === 'ack_requeue_false', (message, redelivered, one) => {
      items.push(itemOf(message, redelivered, queue.readyCount, encoding, truncate))
      if (one.slot >= 0) held.push(one)
    })
  } finally {
    // All of them are shown before any goes back: five different ones, not one five times.
    for (const { slot, deadline, returns } of held) {
      if (mode === 'reject_requeue_false') queue.discard(slot)
      else queue.giveBack(slot, deadline, returns, mode === 'reject_requeue_true')
    }
  }
  return items
}

/** Takes up to `count` messages out, waiting for those that are not in memory. */
async function take(
  queue: Queue,
  count: number,
  noAck: boolean,
  taken: (message: Message, redelivered: boolean, held: Held) => void,
): Promise<void> {
  for (let got = 0; got < count && !queue.deleted; ) {
    const outcome = queue.get(noAck, (message, slot, redelivered, deadline, returns) =>
      taken(message, redelivered, { slot, deadline, returns }),
    )
    if (outcome === Got.nothing) return
    if (outcome === Got.message) got++
    else await new Promise<void>(resolve => queue.whenRead(resolve))
  }
}

function itemOf(
  message: Message,
  redelivered: boolean,
  left: number,
  encoding: 'auto' | 'base64',
  truncate: number,
): Item {
  const { bytes, body, bodySize, parts, inPlace, propertiesStart, propertiesEnd } = message
  const start = body + frameHead
  const whole = inPlace ? bytes.subarray(start, start + bodySize) : Buffer.concat(parts ?? [])
  const shown = whole.subarray(0, truncate)
  const asText = encoding === 'auto' && isUtf8(shown)
  return {
    payload_bytes: bodySize,
    redelivered,
    exchange: message.exchange,
    routing_key: message.routingKey,
    message_count: left,
    properties: propertiesJson(decodeProperties(bytes, propertiesStart, propertiesEnd)),
    payload: shown.toString(asText ? 'utf8' : 'base64'),
    payload_encoding: asText ? 'string' : 'base64',
  }
}

/** The mode by any of the names it had, older ones too. */
function modeIn(call: Call): string {
  const { ackmode, ack_mode: other, requeue } = call.body
  if (ackmode === undefined && other === undefined && typeof requeue === 'boolean')
    return `ack_requeue_${requeue}`
  const mode = ackmode ?? other ?? required(call, 'ackmode')
  if (!modes.includes(String(mode))) throw badRequest(`unknown ackmode: ${mode}`)
  return String(mode)
}

function countIn(value: unknown): number {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
  if (!Number.isSafeInteger(number) || (number as number) < 0)
    throw badRequest(`not a number of messages: ${value}`)
  return number as number
}
