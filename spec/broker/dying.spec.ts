/** The wait for a burial, beside an array. */
import { deepStrictEqual } from 'node:assert'
import t from 'tap'
import { Dying } from '../../src/broker/dying.js'
import type { DeathReason } from '../../src/broker/queues/host.js'
import type { Queue } from '../../src/broker/queues/queue.js'
import { VhostBench } from '../support/vhosts.js'

t.test('they come out as they went in, over any number of pages', async t => {
  const bench = new VhostBench()
  const queues = ['a', 'b'].map(name => bench.declareQueue(name)) as [Queue, Queue]
  const reasons: readonly DeathReason[] = ['rejected', 'expired', 'maxlen']
  const dying = new Dying()
  const model: [Queue, number, DeathReason, boolean][] = []
  let slot = 0
  const push = (times: number) => {
    for (const until = slot + times; slot < until; slot++) {
      const death: (typeof model)[0] = [
        queues[slot & 1] as Queue,
        slot,
        reasons[slot % 3] as DeathReason,
        slot % 5 !== 0,
      ]
      dying.push(...death)
      model.push(death)
    }
  }
  const shift = (times: number) => {
    for (let i = 0; i < times; i++) dying.shift((...death) => deepStrictEqual(death, model.shift()))
    t.equal(dying.count, model.length)
  }
  for (const times of [1, 3, 4096, 5000, 20_000]) {
    push(times)
    shift(times >> 1)
    push(times)
    shift(model.length - 1)
    push(1)
    shift(2)
  }
})
