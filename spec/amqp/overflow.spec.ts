/** Publishers with confirms and queues that overflow: each publish is told once, and truly. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { PlainTable } from '../../src/wire/field-table.js'
import { declareQueue, method, publish, SimulatedBroker } from '../support/test-client.js'

type Step =
  | { do: 'publish'; spread: boolean; size: number }
  | { do: 'get'; settle: 'ack' | 'requeue' | 'hold' }
  | { do: 'purge' | 'end-turn' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      spread: fc.boolean(),
      size: fc.constantFrom(4, 20, 50),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      settle: fc.constantFrom('ack' as const, 'requeue' as const, 'hold' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('purge' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('end-turn' as const) }) },
)

/** A body that says which publish it was. */
const bodyOf = (serial: number, size: number) => {
  const body = Buffer.alloc(size)
  body.writeUInt32BE(serial)
  return body
}

const get = method(2, 'basic.get', { queue: 'q', noAck: false })

class Pair {
  readonly #host = new SimulatedBroker()
  readonly #client = this.#host.open()
  readonly #dropsHead: boolean
  /** Serials in the queue with their sizes, and those that a get holds. */
  #ready: { serial: number; size: number }[] = []
  readonly #told = new Map<number, 'ack' | 'nack'>()
  readonly #expected = new Map<number, 'ack' | 'nack'>()
  #serial = 0
  #lastTold = 0
  #deliveryTag = 0

  constructor(args: PlainTable) {
    this.#dropsHead = args['x-overflow'] === undefined
    this.#client.give(
      method(2, 'channel.open', {}),
      declareQueue(1, 'q', args),
      declareQueue(1, 'open'),
      method(1, 'confirm.select', { nowait: true }),
    )
    for (const queue of ['q', 'open'])
      this.#client.give(
        method(1, 'queue.bind', {
          queue,
          exchange: 'amq.fanout',
          routingKey: '',
          nowait: true,
          arguments: [],
        }),
      )
    this.#host.settle()
    this.#client.take()
  }

  run(step: Step, maxLength: number, maxBytes: number): void {
    const client = this.#client
    if (step.do === 'publish') {
      const serial = ++this.#serial
      const { size, spread } = step
      client.give(publish(1, 'q', bodyOf(serial, size), spread ? { exchange: 'amq.fanout' } : {}))
      this.#ready.push({ serial, size })
      const bytes = () => this.#ready.reduce((sum, { size }) => sum + size, 0)
      const isFull = () => this.#ready.length > maxLength || bytes() > maxBytes
      const refused = isFull() && !this.#dropsHead
      if (refused) this.#ready.pop()
      while (this.#dropsHead && isFull()) this.#ready.shift()
      this.#expected.set(serial, refused ? 'nack' : 'ack')
    } else if (step.do === 'get') {
      client.give(get)
      const first = this.#ready[0]
      if (first === undefined) return
      const deliveryTag = ++this.#deliveryTag
      if (step.settle === 'ack')
        client.give(method(2, 'basic.ack', { deliveryTag, multiple: false }))
      if (step.settle === 'requeue')
        client.give(method(2, 'basic.reject', { deliveryTag, requeue: true }))
      else this.#ready.shift()
    } else if (step.do === 'purge') {
      client.give(method(2, 'queue.purge', { queue: 'q', nowait: true }))
      this.#ready = []
    } else {
      this.#host.settle()
      this.#listen()
    }
  }

  finish(): void {
    this.#host.settle()
    this.#listen()
    deepStrictEqual([...this.#told], [...this.#expected], 'each is told once, in order, and truly')
    for (let left = this.#ready.length; left >= 0; left--) this.#client.give(get)
    this.#host.settle()
    const bodies = this.#client.take().filter(({ name }) => name === 'body')
    const serials = bodies.map(({ payload }) => payload.readUInt32BE())
    deepStrictEqual(
      serials,
      this.#ready.map(({ serial }) => serial),
      'what is in the queue',
    )
    strictEqual(this.#host.broker.vhost('/')?.queues.get('open')?.unackedCount, 0)
  }

  #listen(): void {
    for (const { channel, name, args } of this.#client.take()) {
      if (channel !== 1 || (name !== 'basic.ack' && name !== 'basic.nack')) continue
      const last = Number(args.deliveryTag)
      ok(args.multiple || last === this.#lastTold + 1, 'nobody is passed over')
      while (this.#lastTold < last)
        this.#told.set(++this.#lastTold, name === 'basic.ack' ? 'ack' : 'nack')
    }
  }
}

const maxLength = 3
const maxBytes = 110

for (const type of ['classic', 'quorum'])
  for (const overflow of [undefined, 'reject-publish'])
    t.test(`a full ${type} queue, overflow ${overflow ?? 'drop-head'}`, async () => {
      const args = {
        'x-queue-type': type,
        'x-max-length': maxLength,
        'x-max-length-bytes': maxBytes,
        'x-delivery-limit': -1,
        ...(overflow === undefined ? {} : { 'x-overflow': overflow }),
      }
      fc.assert(
        fc.property(fc.array(step, { maxLength: 80, size: 'max' }), steps => {
          const pair = new Pair(args)
          for (const step of steps) pair.run(step, maxLength, maxBytes)
          pair.finish()
        }),
        { seed: 23, numRuns: 150 },
      )
    })
