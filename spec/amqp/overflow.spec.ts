/** Publisher confirms of queues that overflow: each message is told once, refused exactly where a queue of its own is full. */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import {
  declareQueue,
  method,
  publish,
  type Received,
  SimulatedBroker,
} from '../support/test-client.js'

const overflows = ['reject-publish', 'reject-publish-dlx', 'drop-head'] as const

interface Limited {
  readonly overflow: (typeof overflows)[number]
  readonly length: number
}

type Step =
  | { readonly do: 'publish'; readonly to: number; readonly mandatory: boolean }
  | { readonly do: 'get'; readonly from: number }
  | { readonly do: 'end the turn' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      to: fc.nat(7),
      mandatory: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), from: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end the turn' as const) }) },
)

const world = fc.record({
  queues: fc.array(fc.record({ overflow: fc.constantFrom(...overflows), length: fc.nat(3) }), {
    minLength: 3,
    maxLength: 3,
  }),
  steps: fc.array(step, { maxLength: 60, size: 'max' }),
})

/** What a publisher hears, one entry for each number it is told of; a return has none. */
function told(frames: readonly Received[]): string[] {
  const lines: string[] = []
  let upTo = 0
  for (const { name, args } of frames) {
    if (name === 'basic.return') lines.push('returned')
    if (name !== 'basic.ack' && name !== 'basic.nack') continue
    const last = Number(args.deliveryTag)
    if (!args.multiple) lines.push(`${name} ${last}`)
    else for (let number = upTo + 1; number <= last; number++) lines.push(`${name} ${number}`)
    upTo = Math.max(upTo, last)
  }
  return lines
}

/** How many are ready, and whether a publish was refused. */
class Model {
  readonly ready: number[] = []
  readonly #queues: readonly Limited[]

  constructor(queues: readonly Limited[]) {
    this.#queues = queues
    for (const _ of queues) this.ready.push(0)
  }

  publish(to: number): boolean {
    let refused = false
    this.#queues.forEach(({ overflow, length }, i) => {
      if ((to & (1 << i)) === 0) return
      const ready = this.ready[i] as number
      if (ready < length) this.ready[i] = ready + 1
      else if (overflow !== 'drop-head') refused = true
    })
    return refused
  }

  get(from: number): void {
    this.ready[from] = Math.max(0, (this.ready[from] as number) - 1)
  }
}

t.test('each publish is told once, and refused where one of its queues is full', async () => {
  fc.assert(
    fc.property(world, ({ queues, steps }) => {
      const host = new SimulatedBroker()
      const client = host.open()
      client.give(method(1, 'confirm.select', { nowait: false }))
      queues.forEach(({ overflow, length }, i) => {
        client.give(declareQueue(1, `q${i}`, { 'x-max-length': length, 'x-overflow': overflow }))
        for (let to = 0; to < 8; to++)
          if ((to & (1 << i)) !== 0)
            client.send(1, 'queue.bind', {
              queue: `q${i}`,
              exchange: 'amq.direct',
              routingKey: `${to}`,
              nowait: false,
              arguments: [],
            })
      })
      host.settle()
      client.take()

      const model = new Model(queues)
      const expected: string[] = []
      let number = 0
      for (const step of steps) {
        if (step.do === 'end the turn') host.endTurn()
        else if (step.do === 'get') {
          client.send(1, 'basic.get', { queue: `q${step.from}`, noAck: true })
          model.get(step.from)
        } else {
          const { to, mandatory } = step
          client.give(publish(1, `${to}`, Buffer.from('m'), { exchange: 'amq.direct', mandatory }))
          number++
          if (to === 0 && mandatory) expected.push(`returned before ${number}`)
          expected.push(`${model.publish(to) ? 'basic.nack' : 'basic.ack'} ${number}`)
        }
      }
      host.settle()
      const frames = client.take()
      const heard = told(frames)
      const confirms = (lines: readonly string[]) =>
        lines.filter(line => !line.startsWith('returned')).sort()
      deepStrictEqual(confirms(heard), confirms(expected))
      // Returns come in order, so each must have come by the time of its confirm.
      let returned = 0
      let due = 0
      const returns = new Set(
        expected.flatMap(line => (line.startsWith('returned') ? line.split(' ').at(-1) : [])),
      )
      for (const line of heard) {
        if (line === 'returned') returned++
        else if (returns.has(line.split(' ').at(-1))) due++
        deepStrictEqual(returned >= due, true, 'a return before its confirm')
      }
      deepStrictEqual(returned, returns.size)
      host.broker.vhost('/')?.queues.forEach(queue => {
        deepStrictEqual(queue.readyCount, model.ready[Number(queue.name.slice(1))], queue.name)
      })
    }),
    { seed: 4, numRuns: 80 },
  )
})
