/** Deliveries in the hands of a client, beside a model in a plain Map. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { type DeliverySource, Settlement, Unacked } from '../../src/amqp/unacked.js'

interface Settled {
  readonly tag: number
  readonly settlement: number
  readonly slot: number
  readonly deadline: number
  readonly returns: number
}

const nobody = { timeoutMs: -1, settle: () => {} } as Partial<DeliverySource> as DeliverySource

/** A source per delivery, which so knows the tag. */
function sourceOf(tag: number, log: Settled[]): DeliverySource {
  return {
    ...nobody,
    settle: (settlement, slot, deadline, returns) =>
      log.push({ tag, settlement, slot, deadline, returns }),
  }
}

interface Entry {
  readonly tag: number
  readonly deadline: number
  readonly returns: number
  held: number
}

class Model {
  readonly entries = new Map<number, Entry>()
  log: Settled[] = []

  /** The deliveries meant, oldest first; null if the tag is not outstanding. */
  meant(tag: number, multiple: boolean): Entry[] | null {
    const open = [...this.entries.values()].filter(({ held }) => held === 0)
    if (tag === 0 && multiple) return open
    if (!open.some(entry => entry.tag === tag)) return null
    return open.filter(entry => (multiple ? entry.tag <= tag : entry.tag === tag))
  }

  settle(entry: Entry, settlement: number): void {
    this.entries.delete(entry.tag)
    const { tag, deadline, returns } = entry
    this.log.push({ tag, settlement, slot: tag * 3, deadline, returns })
  }
}

/** Does something 100 at a time. */
function inSteps(log: readonly Settled[], work: (most: number) => boolean): void {
  for (let steps = 1; !work(100); steps++) strictEqual(log.length, steps * 100)
}

const settlement = fc.constantFrom(...Object.values(Settlement))
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('push' as const),
      count: fc.constantFrom(1, 2, 5, 100, 300),
      gap: fc.constantFrom(0, 0, 0, 1, 7),
      deadline: fc.constantFrom(0, 0, 5000),
      returns: fc.constantFrom(0, 1, 300, 70_000),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      // How far behind the newest tag; -1 is one that was never given, null is tag 0.
      back: fc.option(fc.oneof(fc.integer({ min: -1, max: 10 }), fc.nat({ max: 600 })), {
        freq: 12,
      }),
      multiple: fc.boolean(),
      settlement,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'rollback' as const) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('give-back' as const),
      most: fc.constantFrom(1, 10, 256, Number.POSITIVE_INFINITY),
      keepHeld: fc.boolean(),
    }),
  },
)

t.test('any sequence of deliveries and settlements does what the model does', async () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(step, { maxLength: 60, size: 'max' }),
      (transactional, steps) => {
        const unacked = new Unacked()
        const model = new Model()
        const log: Settled[] = []
        let last = 0
        for (const step of steps) {
          switch (step.do) {
            case 'push':
              last += step.gap
              for (let i = 0; i < step.count; i++) {
                const tag = ++last
                const { deadline, returns } = step
                unacked.push(tag, tag * 3, sourceOf(tag, log), deadline, returns)
                model.entries.set(tag, { tag, deadline, returns, held: 0 })
              }
              break
            case 'settle': {
              const { back, multiple, settlement } = step
              const tag = back === null ? 0 : Math.max(0, last - back)
              const meant = model.meant(tag, multiple)
              if (!multiple) {
                const known = transactional
                  ? unacked.hold(tag, settlement)
                  : unacked.settle(tag, settlement)
                strictEqual(known, meant !== null)
              } else {
                strictEqual(tag === 0 || unacked.has(tag), meant !== null)
                const upTo = tag === 0 ? last : tag
                if (meant !== null && transactional) unacked.holdUpTo(upTo, settlement)
                else if (meant !== null)
                  inSteps(log, most => unacked.settleUpTo(upTo, settlement, most))
              }
              for (const entry of meant ?? [])
                if (transactional) entry.held = settlement
                else model.settle(entry, settlement)
              break
            }
            case 'commit':
              inSteps(log, most => unacked.commit(most))
              for (const entry of [...model.entries.values()])
                if (entry.held !== 0) model.settle(entry, entry.held)
              break
            case 'rollback':
              unacked.rollback()
              for (const entry of model.entries.values()) entry.held = 0
              break
            case 'give-back': {
              const { most, keepHeld } = step
              const entries = [...model.entries.values()]
              const due = entries.filter(({ held }) => !keepHeld || held === 0)
              const done = keepHeld
                ? unacked.settleUpTo(last, Settlement.requeue, most)
                : unacked.giveBack(most)
              strictEqual(done, due.length <= most)
              for (const entry of due.slice(0, most))
                model.settle(entry, keepHeld ? Settlement.requeue : Settlement.fail)
            }
          }
          deepStrictEqual(log.splice(0), model.log.splice(0))
          strictEqual(unacked.count, model.entries.size)
        }
      },
    ),
    { seed: 11, numRuns: 300 },
  )
})

t.test('a tag that is settled, or never was, is refused and changes nothing', async t => {
  const unacked = new Unacked()
  const log: Settled[] = []
  t.notOk(unacked.settle(1, Settlement.complete), 'nothing is out')
  t.notOk(unacked.has(1))
  for (const tag of [1, 2, 5]) unacked.push(tag, tag, sourceOf(tag, log), 0, 0)
  t.ok(unacked.settle(2, Settlement.complete))
  for (const tag of [0, 2, 3, 4, 6]) {
    t.notOk(unacked.has(tag), `${tag}`)
    t.notOk(unacked.settle(tag, Settlement.discard))
    t.notOk(unacked.hold(tag, Settlement.discard))
  }
  t.equal(log.length, 1)
  t.equal(unacked.count, 2)
})

t.test('how often a message came back is counted beyond 65,535', async t => {
  const unacked = new Unacked()
  const log: Settled[] = []
  unacked.push(1, 1, sourceOf(1, log), 0, 65_536)
  unacked.settle(1, Settlement.requeue)
  t.equal(log[0]?.returns, 65_536)
})

t.test('pages are used again: a million deliveries need no more memory than one', async t => {
  const unacked = new Unacked()
  const source: DeliverySource = nobody
  const round = (from: number, count: number) => {
    for (let tag = from; tag < from + count; tag++) {
      unacked.push(tag, tag, source, 0, 0)
      if (tag > 1) unacked.settle(tag - 1, Settlement.complete)
    }
  }
  round(1, 100_000)
  const { arrayBuffers } = process.memoryUsage()
  round(100_001, 1_000_000)
  t.ok(process.memoryUsage().arrayBuffers - arrayBuffers < 64 * 1024)
  t.equal(unacked.count, 1)
})

t.test('one delivery that is never settled keeps its own page and no other', async t => {
  const unacked = new Unacked()
  const log: Settled[] = []
  const source: DeliverySource = nobody
  unacked.push(1, 1, sourceOf(1, log), 0, 0)
  const round = (from: number, count: number) => {
    for (let tag = from; tag < from + count; tag++) {
      unacked.push(tag, tag, source, 0, 0)
      unacked.settle(tag, Settlement.complete)
    }
  }
  round(2, 10_000)
  const { arrayBuffers } = process.memoryUsage()
  round(10_002, 1_000_000)
  t.ok(process.memoryUsage().arrayBuffers - arrayBuffers < 64 * 1024)
  t.equal(unacked.count, 1)
  t.ok(unacked.settle(1, Settlement.requeue))
  t.equal(log.length, 1)
})
