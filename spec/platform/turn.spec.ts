/** What waits for the end of a turn: in the order of its stages, and what it asks for in its own stage a turn later. */
import t from 'tap'
import { Stage, Turn } from '../../src/platform/turn.js'

function bench() {
  const deferred: (() => void)[] = []
  const failures: unknown[] = []
  const turn = new Turn(
    task => deferred.push(task),
    error => failures.push(error),
  )
  return { turn, deferred, failures, end: () => deferred.shift()?.() }
}

t.test('stages run in their order, parties of a stage in theirs', async t => {
  const { turn, deferred, end } = bench()
  const ran: string[] = []
  const party = (name: string) => ({ endTurn: (stage: Stage) => ran.push(`${name} ${stage}`) })
  turn.add(Stage.read, party('a'))
  turn.add(Stage.flush, party('b'))
  turn.add(Stage.deliver, party('c'))
  turn.add(Stage.deliver, party('d'))
  turn.add(Stage.confirm, party('e'))
  t.equal(deferred.length, 1, 'asked for once')
  t.strictSame(ran, [])
  end()
  t.strictSame(ran, ['c 0', 'd 0', 'e 1', 'b 2', 'a 3'])
  t.equal(deferred.length, 0)
})

t.test('a later stage comes in the same turn, the same or an earlier one in the next', async t => {
  const { turn, deferred, end } = bench()
  const ran: Stage[] = []
  const note = { endTurn: (stage: Stage) => ran.push(stage) }
  turn.add(Stage.confirm, {
    endTurn: () => {
      for (const stage of Object.values(Stage)) turn.add(stage, note)
    },
  })
  end()
  t.strictSame(ran, [Stage.flush, Stage.read])
  t.equal(deferred.length, 1)
  end()
  t.strictSame(ran, [Stage.flush, Stage.read, Stage.deliver, Stage.confirm])
  t.equal(deferred.length, 0)
})

t.test('a party that throws is reported and keeps nobody else from its turn', async t => {
  const { turn, failures, end } = bench()
  const wrong = new Error('wrong')
  let ran = 0
  const bad = {
    endTurn: () => {
      throw wrong
    },
  }
  turn.add(Stage.deliver, bad)
  turn.add(Stage.deliver, { endTurn: () => ran++ })
  turn.add(Stage.flush, { endTurn: () => ran++ })
  end()
  t.strictSame(failures, [wrong])
  t.equal(ran, 2)
  turn.add(Stage.read, { endTurn: () => ran++ })
  end()
  t.equal(ran, 3, 'the turns go on')
})

t.test('deliveries that take too long go on first in the next turn', async t => {
  const deferred: (() => void)[] = []
  let now = 0
  const turn = new Turn(
    task => deferred.push(task),
    error => t.fail(String(error)),
    () => now,
  )
  const ran: string[] = []
  const slow = (name: string) => ({
    endTurn: () => {
      ran.push(name)
      now += 4
    },
  })
  for (const name of ['a', 'b', 'c']) turn.add(Stage.deliver, slow(name))
  turn.add(Stage.flush, { endTurn: () => ran.push('flush') })
  deferred.shift()?.()
  t.strictSame(ran, ['a', 'b', 'flush'])
  turn.add(Stage.deliver, slow('d'))
  deferred.shift()?.()
  t.strictSame(ran, ['a', 'b', 'flush', 'c', 'd'])
  t.equal(deferred.length, 0)
})
