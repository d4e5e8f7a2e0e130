import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Ring, type RingMember } from '../../src/structures/ring.js'
import { deterministic } from '../support/generators.js'

interface Member extends RingMember<Member> {
  readonly name: number
}

/** The members in turn, walked forwards. */
function inTurn({ head }: Ring<Member>): number[] {
  const names: number[] = []
  for (let member = head; member !== null; ) {
    names.push(member.name)
    deepStrictEqual(member.next?.previous, member)
    member = member.next === head ? null : member.next
  }
  return names
}

t.test('members take turns in the order in which they joined, whoever leaves', async () => {
  const steps = fc.array(fc.oneof(fc.nat(9), fc.constant('turn' as const)), {
    maxLength: 100,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, steps => {
      const members = Array.from({ length: 10 }, (_, name): Member => {
        return { name, next: null, previous: null }
      })
      const ring = new Ring<Member>()
      const model: number[] = []
      for (const step of steps) {
        if (step === 'turn') {
          ring.turn()
          if (model.length > 0) model.push(model.shift() as number)
        } else if (model.includes(step)) {
          ring.leave(members[step] as Member)
          model.splice(model.indexOf(step), 1)
          const { next, previous } = members[step] as Member
          deepStrictEqual([next, previous], [null, null])
        } else {
          ring.join(members[step] as Member)
          model.push(step)
        }
        deepStrictEqual(inTurn(ring), model)
      }
    }),
    deterministic,
  )
})
