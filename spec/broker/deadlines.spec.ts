/** Deadlines on a clock in the test's hands: each in its time, none early, whatever the wall clock does. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { type Deadline, Deadlines } from '../../src/broker/deadlines.js'
import { FakeClock } from '../support/fake-clock.js'

const second = 1000
const day = 86_400 * second

function bench() {
  const clock = new FakeClock()
  const failures: unknown[] = []
  const deadlines = new Deadlines(clock, error => failures.push(error))
  const fired: { name: string; late: number }[] = []
  const deadline = (name: string, work: () => void = () => {}): Deadline => {
    const node: Deadline = {
      at: 0,
      place: -1,
      due: () => {
        fired.push({ name, late: clock.monotonicMs() - node.at })
        work()
      },
    }
    return node
  }
  const set = (node: Deadline, delayMs: number) =>
    deadlines.set(node, clock.monotonicMs() + delayMs)
  return { clock, deadlines, failures, fired, deadline, set }
}

t.test('any deadlines, set, moved and cleared, fire once and at their moment', async () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('set' as const),
      which: fc.nat(7),
      delay: fc.nat({ max: 50 }),
    }),
    fc.record({ do: fc.constant('clear' as const), which: fc.nat(7) }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.nat({ max: 20 }) }),
    fc.record({ do: fc.constant('step-wall' as const), ms: fc.integer() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), steps => {
      const { clock, deadlines, fired, deadline, set } = bench()
      const nodes = Array.from({ length: 8 }, (_, i) => deadline(`${i}`))
      const model = new Map<string, number>()
      let expected = 0
      for (const step of steps) {
        const name = 'which' in step ? `${step.which}` : ''
        const node = nodes[Number(name)] as Deadline
        if (step.do === 'set') {
          set(node, step.delay)
          model.set(name, clock.monotonicMs() + step.delay)
        } else if (step.do === 'clear') {
          deadlines.clear(node)
          model.delete(name)
        } else if (step.do === 'step-wall') clock.stepWall(step.ms)
        else {
          const until = clock.monotonicMs() + step.ms
          const due = [...model].filter(([, at]) => at <= until).sort(([, a], [, b]) => a - b)
          for (const [name] of due) model.delete(name)
          clock.advance(step.ms)
          const now = fired.slice(expected)
          expected += due.length
          deepStrictEqual(now.map(({ name }) => name).sort(), due.map(([name]) => name).sort())
          const moments = now.map(({ name }) => due.find(([other]) => other === name)?.[1] ?? 0)
          deepStrictEqual(
            moments,
            [...moments].sort((a, b) => a - b),
            'in the order of their time',
          )
        }
        ok(fired.every(({ late }) => late === 0))
        ok(clock.pending <= 1, 'one timer for all')
      }
      strictEqual(fired.length, expected)
    }),
    { seed: 5, numRuns: 300 },
  )
})

t.test('a delay of sixty days is kept to the millisecond', async t => {
  const { clock, fired, deadline, set } = bench()
  set(deadline('in 60 days'), 60 * day)
  set(deadline('in 30 days'), 30 * day)
  clock.advance(30 * day - 1)
  t.strictSame(fired, [])
  clock.advance(1)
  t.strictSame(fired, [{ name: 'in 30 days', late: 0 }])
  clock.advance(30 * day - 1)
  t.equal(fired.length, 1)
  clock.advance(1)
  t.strictSame(fired.at(-1), { name: 'in 60 days', late: 0 })
})

t.test('a wall clock that is set by years changes nothing', async t => {
  const { clock, fired, deadline, set } = bench()
  set(deadline('d'), second)
  clock.stepWall(-400 * day)
  clock.advance(second / 2)
  clock.stepWall(4000 * day)
  clock.advance(second / 2 - 1)
  t.strictSame(fired, [])
  clock.advance(1)
  t.strictSame(fired, [{ name: 'd', late: 0 }])
})

t.test('a timer that comes too early fires nothing and comes again', async t => {
  const early: (() => void)[] = []
  let now = 0
  const fired: number[] = []
  const clock = {
    wallMs: () => 0,
    monotonicMs: () => now,
    after: (_delayMs: number, task: () => void) => {
      early.push(task)
      return () => {}
    },
  }
  const deadlines = new Deadlines(clock, () => {})
  deadlines.set({ at: 0, place: -1, due: () => fired.push(now) }, 100)
  now = 99.5
  early.shift()?.()
  t.strictSame([fired.length, early.length], [0, 1])
  now = 100
  early.shift()?.()
  t.strictSame(fired, [100])
  t.equal(early.length, 0)
})

t.test('one that throws is reported and keeps no other from its work', async t => {
  const { clock, failures, fired, deadline, set } = bench()
  const wrong = new Error('wrong')
  set(
    deadline('bad', () => {
      throw wrong
    }),
    10,
  )
  set(deadline('good'), 10)
  clock.advance(10)
  t.strictSame(failures, [wrong])
  t.equal(fired.length, 2)
})

t.test('one that sets itself again at once lets others have the loop', async t => {
  const { clock, fired, deadline, set } = bench()
  const again = deadline('again', () => set(again, 0))
  set(again, 10)
  clock.advance(10)
  t.equal(fired.length, 1)
  clock.advance(3)
  t.equal(fired.length, 4)
})

t.test('after a close no timer is left and none is set', async t => {
  const { clock, deadlines, fired, deadline, set } = bench()
  set(deadline('a'), 10)
  deadlines.close()
  set(deadline('b'), 5)
  t.equal(clock.pending, 0)
  clock.advance(100)
  t.strictSame(fired, [])
})

t.test('many that are due together let others have the loop, and none is passed over', async t => {
  let now = 0
  const timers: { at: number; task: () => void }[] = []
  const clock = {
    wallMs: () => 0,
    monotonicMs: () => now,
    after: (delayMs: number, task: () => void) => {
      timers.push({ at: now + Math.max(delayMs, 1), task })
      return () => {}
    },
  }
  const deadlines = new Deadlines(clock, () => {})
  const done: number[] = []
  const count = 1000
  for (let i = 0; i < count; i++) {
    const due = () => {
      done.push(i)
      now += 0.1
    }
    // The last are due somewhat later, and get no turn before the first.
    deadlines.set({ at: 0, place: -1, due }, i < count - 10 ? 100 : 110)
  }
  let longest = 0
  for (let timer = timers.shift(); timer !== undefined; timer = timers.shift()) {
    now = Math.max(now, timer.at)
    const before = now
    timer.task()
    longest = Math.max(longest, now - before)
  }
  t.equal(done.length, count)
  t.equal(new Set(done).size, count)
  t.strictSame(
    done.slice(-10).sort((a, b) => a - b),
    Array.from({ length: 10 }, (_, i) => count - 10 + i),
  )
  t.ok(longest <= 3.2, `${longest} ms at a time`)
})
