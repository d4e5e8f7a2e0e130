/** Confirms of any sequence of publishes: each number told once, in order, and with its own answer. */
import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Confirms } from '../../src/amqp/confirms.js'
import type { LogWaiter } from '../../src/broker/journal.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { decodeMethod } from '../../src/wire/codec.js'
import { FrameParser } from '../../src/wire/frame-parser.js'
import { FrameWriter } from '../../src/wire/frame-writer.js'
import { FakeSocket } from '../support/fake-socket.js'
import { ManualTurn } from '../support/manual-turn.js'

/** A journal whose progress is in the test's hands. */
class Progress {
  durableUpTo = 0
  waiters: LogWaiter[] = []

  wait(waiter: LogWaiter): void {
    this.waiters.push(waiter)
  }

  durable(upTo: number): void {
    this.durableUpTo = upTo
    this.#wake(waiter => waiter.durable())
  }

  /** Returns the numbers that were given up. */
  fail(from: number): Set<number> {
    const given = new Set<number>()
    this.#wake(waiter => waiter.failed(from, given))
    return given
  }

  #wake(call: (waiter: LogWaiter) => boolean): void {
    this.waiters = this.waiters.splice(0).filter(call)
  }
}

function bench() {
  const turns = new ManualTurn()
  const socket = new FakeSocket()
  const congestion = { congested: () => {}, relieved: () => {} }
  const writer = new FrameWriter(new ChunkPool(), turns.turn, socket, congestion)
  const progress = new Progress()
  return { turns, socket, progress, confirms: new Confirms(turns.turn, progress, writer, 7) }
}

interface Told {
  readonly refused: boolean
  readonly tag: number
  readonly multiple: boolean
}

function toldIn(bytes: Buffer): Told[] {
  const parser = new FrameParser(4096)
  parser.feed(bytes, 0, bytes.length)
  const told: Told[] = []
  while (parser.next()) {
    const method = decodeMethod(parser.bytes, parser.start, parser.end)
    if (method.name !== 'basic.ack' && method.name !== 'basic.nack') throw new Error(method.name)
    const { deliveryTag, multiple } = method.args
    told.push({ refused: method.name === 'basic.nack', tag: Number(deliveryTag), multiple })
    deepStrictEqual(parser.channel, 7)
  }
  return told
}

t.test('each publish is told once, in order, with its answer', async () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.boolean(), { maxLength: 12 }), { maxLength: 12 }), turns => {
      const { turns: manual, socket, confirms } = bench()
      let published = 0
      for (const answers of turns) {
        for (const refused of answers) confirms.add(refused, 0)
        manual.endAll()
        published += answers.length
        const told = toldIn(socket.received)
        deepStrictEqual(told.at(-1)?.tag ?? 0, published, 'all of a turn when it ends')
      }
      const answers = turns.flat()
      let before = 0
      for (const { refused, tag, multiple } of toldIn(socket.received)) {
        ok(tag > before, 'never 0, and always higher')
        deepStrictEqual(multiple, tag - before > 1)
        for (let number = before; number < tag; number++) deepStrictEqual(answers[number], refused)
        before = tag
      }
    }),
    { seed: 29, numRuns: 300 },
  )
})

t.test('runs of the same answer in a turn are told in one method each', async t => {
  const { turns, socket, confirms } = bench()
  for (const refused of [false, false, false, true, true, false]) confirms.add(refused, 0)
  turns.endAll()
  t.strictSame(toldIn(socket.received), [
    { refused: false, tag: 3, multiple: true },
    { refused: true, tag: 5, multiple: true },
    { refused: false, tag: 6, multiple: false },
  ])
})

t.test('nothing is told after the channel is closed', async t => {
  const { turns, socket, confirms } = bench()
  confirms.add(false, 0)
  confirms.close()
  confirms.add(false, 0)
  turns.endAll()
  t.equal(socket.received.length, 0)
})

t.test(
  'what is logged is told when it is durable, what failed is refused, always in order',
  async () => {
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('taken', 'refused', 'logged', 'logged') },
      { weight: 3, arbitrary: fc.constantFrom('turn', 'durable', 'failed') },
    )
    const seen = new Set<string>()
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 120 }),
        fc.infiniteStream(fc.nat()),
        (events, random) => {
          const { turns, socket, progress, confirms } = bench()
          let lastNumber = 0
          const between = (low: number) =>
            low + ((random.next().value as number) % (lastNumber - low + 1))
          const publishes: { number: number; refused: boolean }[] = []
          const check = (ended: boolean) => {
            turns.endAll()
            let before = 0
            for (const { refused, tag, multiple } of toldIn(socket.received)) {
              ok(tag > before)
              deepStrictEqual(multiple, tag - before > 1)
              for (const publish of publishes.slice(before, tag)) {
                deepStrictEqual(publish.refused, refused)
                ok(refused || publish.number <= progress.durableUpTo, 'not before it is durable')
              }
              before = tag
            }
            const next = publishes[before]
            if (next === undefined) return
            ok(!ended, 'all are told in the end')
            ok(!next.refused && next.number > progress.durableUpTo, 'and none waits for nothing')
            seen.add('waits')
          }
          for (const event of events) {
            if (event === 'turn') check(false)
            else if (event === 'durable') {
              progress.durable(between(progress.durableUpTo))
              check(false)
            } else if (event === 'failed') {
              turns.endAll()
              const from = between(progress.durableUpTo) + 1
              const given = progress.fail(from)
              for (const publish of publishes)
                if (publish.number >= from && !publish.refused) {
                  ok(given.delete(publish.number))
                  publish.refused = true
                  seen.add('fails')
                }
              deepStrictEqual(given.size, 0)
              check(false)
            } else {
              const logged = event === 'logged'
              if (logged) lastNumber += 1 + ((random.next().value as number) % 3)
              publishes.push({ number: logged ? lastNumber : 0, refused: event === 'refused' })
              confirms.add(event === 'refused', logged ? lastNumber : 0)
            }
          }
          turns.endAll()
          progress.durable(lastNumber)
          check(true)
        },
      ),
      { seed: 31, numRuns: 500 },
    )
    deepStrictEqual([...seen].sort(), ['fails', 'waits'])
  },
)
