import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Returned } from '../../../src/broker/queues/returned.js'
import { deterministic } from '../../support/generators.js'

t.test('the oldest goes first, with all that was said of it', async () => {
  const steps = fc.array(fc.oneof(fc.nat(300), fc.constant('shift' as const)), {
    maxLength: 150,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, steps => {
      const returned = new Returned()
      const model: number[] = []
      for (const step of steps) {
        if (step === 'shift') {
          if (model.length === 0) continue
          returned.shift()
          model.shift()
        } else if (!model.includes(step)) {
          returned.push(step, step + 1000, step * 2, step % 7)
          model.push(step)
          model.sort((a, b) => a - b)
        }
        deepStrictEqual(returned.count, model.length)
        const first = model[0]
        if (first === undefined) continue
        const { number, slot, deadline, returns } = returned
        deepStrictEqual(
          { number, slot, deadline, returns },
          { number: first, slot: first + 1000, deadline: first * 2, returns: first % 7 },
        )
      }
    }),
    deterministic,
  )
})
