/** Confirms of any sequence of publishes: each number told once, in order, and with its own answer. */
import { deepStrictEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Confirms } from '../../src/amqp/confirms.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { decodeMethod } from '../../src/wire/codec.js'
import { FrameParser } from '../../src/wire/frame-parser.js'
import { FrameWriter } from '../../src/wire/frame-writer.js'
import { FakeSocket } from '../support/fake-socket.js'
import { ManualTurn } from '../support/manual-turn.js'

function bench() {
  const turns = new ManualTurn()
  const socket = new FakeSocket()
  const congestion = { congested: () => {}, relieved: () => {} }
  const writer = new FrameWriter(new ChunkPool(), turns.turn, socket, congestion)
  return { turns, socket, confirms: new Confirms(turns.turn, writer, 7) }
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
        for (const refused of answers) confirms.add(refused)
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
  for (const refused of [false, false, false, true, true, false]) confirms.add(refused)
  turns.endAll()
  t.strictSame(toldIn(socket.received), [
    { refused: false, tag: 3, multiple: true },
    { refused: true, tag: 5, multiple: true },
    { refused: false, tag: 6, multiple: false },
  ])
})

t.test('nothing is told after the channel is closed', async t => {
  const { turns, socket, confirms } = bench()
  confirms.add(false)
  confirms.close()
  confirms.add(false)
  turns.endAll()
  t.equal(socket.received.length, 0)
})
