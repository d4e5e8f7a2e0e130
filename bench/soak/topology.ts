// What the soak declares, and the streams that go through it: straight to a queue, a fan-out, a
// priority queue, a queue whose messages die of age, one whose messages are rejected, and one whose
// messages are carried on to another queue in transactions.

import { FrameWriter, methods, type Table } from '../frames.js'
import type { Link } from '../link.js'
import type { Ledger, Stream, TrackSettings } from './ledger.js'
import { priorityOf, type Route } from './message.js'

export interface Flow {
  readonly stream: Stream
  readonly route: Route
  /** Most messages sent at once, and most that wait for their confirm. */
  readonly burst: number
  readonly window: number
}

const FANOUT = 'soak.fanout'
/** Of the messages for `rejects`, one in so many is rejected. */
const REJECTED = 5
const TRANSACTION = 10

const deadLetters = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }

export const queues: Readonly<Record<string, Table>> = {
  shared: {},
  slow: {},
  large: {},
  mixed: {},
  fan1: {},
  fan2: {},
  fan3: {},
  priority: { 'x-max-priority': 5 },
  aging: { 'x-message-ttl': 300, ...deadLetters },
  rejects: deadLetters,
  dead: {},
  source: {},
  target: {},
}

const fanned = ['fan1', 'fan2', 'fan3']

export const isRejected = (queue: string, sequence: number): boolean =>
  queue === 'rejects' && sequence % REJECTED === 0

const always = () => true
const never = () => false
const inOrder: TrackSettings = { order: () => 0, last: always }

/** The route on which consumers of `source` send its messages on. */
export const onward: Route = to('target', 16, 2000)

/** The streams, numbered alike in every run. */
export function flows(ledger: Ledger): Flow[] {
  const flow = (
    name: string,
    route: Route,
    tracks: Record<string, TrackSettings>,
    burst = 30,
    window = 300,
  ): Flow => ({ stream: ledger.stream(name, tracks), route, burst, window })
  const priorities = { ...to('priority', 16, 1024), priorities: 5 }
  const all = [
    flow('shared 1', to('shared', 8, 1024), { shared: inOrder }, 60, 1000),
    flow('shared 2', to('shared', 8, 4096), { shared: inOrder }),
    flow('slow', to('slow', 500, 1500), { slow: inOrder }),
    flow('large', to('large', 50_000, 300_000), { large: inOrder }, 2, 8),
    flow('mixed', to('mixed', 8, 1024), { mixed: inOrder }),
    flow(
      'fan-out',
      { ...to('', 8, 2048), exchange: FANOUT },
      Object.fromEntries(fanned.map(queue => [queue, inOrder])),
    ),
    flow('priority', priorities, {
      priority: { order: sequence => priorityOf(sequence, priorities), last: always },
    }),
    flow('aging', to('aging', 8, 1024), { dead: { order: () => 0, last: always, entered: true } }),
    flow('rejects', to('rejects', 8, 1024), {
      rejects: { order: () => 0, last: sequence => !isRejected('rejects', sequence) },
      dead: { order: null, last: sequence => isRejected('rejects', sequence), entered: true },
    }),
    flow('transactions', to('source', onward.leastBytes, onward.mostBytes), {
      source: { order: () => 0, last: never },
      target: { order: null, last: always, entered: true },
    }),
  ]
  for (const { stream } of all) {
    if (stream.name === 'mixed') stream.transient = sequence => sequence % 2 === 1
    if (stream.name === 'transactions') stream.transaction = TRANSACTION
  }
  return all
}

function to(routingKey: string, leastBytes: number, mostBytes: number): Route {
  return { exchange: '', routingKey, leastBytes, mostBytes, priorities: 0 }
}

/** Declares everything; what is there already stays as it is. */
export async function declare(link: Link): Promise<void> {
  const exchange = new FrameWriter().method(1, methods.exchangeDeclare).u16(0)
  exchange.shortString(FANOUT).shortString('fanout').u8(2).table({}).end()
  await link.call(exchange, methods.exchangeDeclareOk)
  for (const [queue, settings] of Object.entries(queues)) {
    const request = new FrameWriter().method(1, methods.queueDeclare).u16(0)
    request.shortString(queue).u8(2).table(settings).end()
    await link.call(request, methods.queueDeclareOk)
  }
  for (const queue of fanned) {
    const request = new FrameWriter().method(1, methods.queueBind).u16(0)
    request.shortString(queue).shortString(FANOUT).shortString('').u8(0).table({}).end()
    await link.call(request, methods.queueBindOk)
  }
}

/** Messages that stand ready in all queues together. A queue that is gone fails. */
export async function readyMessages(link: Link): Promise<number> {
  let ready = 0
  for (const queue of Object.keys(queues)) {
    const passive = new FrameWriter().method(1, methods.queueDeclare).u16(0)
    passive.shortString(queue).u8(1).table({}).end()
    const answer = await link.call(passive, methods.queueDeclareOk)
    ready += answer.readUInt32BE(answer.length - 8)
  }
  return ready
}
