/** The machine's clock, with Node's timers and moments replaced while a test runs. */
import t, { type Test } from 'tap'
import { SystemClock } from '../../src/platform/clock.js'

/** Takes the place of setTimeout and performance.now; `pass` lets time go by. */
function machine(t: Test) {
  const real = { setTimeout, clearTimeout, now: performance.now }
  t.teardown(() => {
    globalThis.setTimeout = real.setTimeout
    globalThis.clearTimeout = real.clearTimeout
    performance.now = real.now
  })
  let now = 1000
  const timers = new Map<number, { due: number; task: () => void }>()
  let last = 0
  const waits: number[] = []
  performance.now = () => now
  globalThis.setTimeout = ((task: () => void, ms: number) => {
    waits.push(ms)
    timers.set(++last, { due: now + ms, task })
    return last
  }) as unknown as typeof setTimeout
  globalThis.clearTimeout = ((timer: number) => timers.delete(timer)) as typeof clearTimeout
  const pass = (ms: number) => {
    const until = now + ms
    for (;;) {
      const [next] = [...timers].sort(([, a], [, b]) => a.due - b.due)
      if (next === undefined || next[1].due > until) break
      now = next[1].due
      timers.delete(next[0])
      next[1].task()
    }
    now = until
  }
  return { timers, waits, pass }
}

const day = 86_400_000

t.test('a wait longer than Node can express is cut, and ends in time', async t => {
  const { waits, pass } = machine(t)
  let fired = 0
  new SystemClock().after(60 * day, () => fired++)
  pass(60 * day - 1)
  const early = fired
  pass(1)
  t.strictSame([early, fired], [0, 1])
  t.ok(waits.length === 3 && Math.max(...waits) <= 2 ** 31 - 1)
  pass(100 * day)
  t.equal(fired, 1)
})

t.test('a wait is cancelled in any of its parts', async t => {
  const { timers, pass } = machine(t)
  let fired = 0
  const cancel = new SystemClock().after(60 * day, () => fired++)
  pass(30 * day)
  cancel()
  t.equal(timers.size, 0)
  pass(60 * day)
  t.equal(fired, 0)
})

t.test('a moment that is past comes at once', async t => {
  const { waits, pass } = machine(t)
  let fired = 0
  new SystemClock().after(-5, () => fired++)
  t.equal(fired, 0, 'but not before the caller has gone on')
  pass(0)
  t.equal(fired, 1)
  t.strictSame(waits, [0])
})

t.test('each task has its moment, whatever is set or cancelled before it', async t => {
  const { timers, pass } = machine(t)
  const clock = new SystemClock()
  const done: string[] = []
  const late = clock.after(300, () => done.push('late'))
  clock.after(200, () => done.push('second'))
  const never = clock.after(100, () => done.push('never'))
  clock.after(100, () => {
    done.push('first')
    clock.after(50, () => done.push('between'))
  })
  t.equal(timers.size, 1, 'one timer for all')
  never()
  pass(100)
  t.strictSame(done, ['first'])
  pass(100)
  t.strictSame(done, ['first', 'between', 'second'])
  t.equal(timers.size, 1)
  late()
  t.equal(timers.size, 0, 'nothing keeps the process any more')
  pass(1000)
  clock.after(10, () => done.push('again'))
  pass(10)
  t.strictSame(done.slice(3), ['again'])
  t.equal(timers.size, 0)
})

t.test('a task that throws takes no other with it', async t => {
  const { timers, pass } = machine(t)
  const clock = new SystemClock()
  let done = 0
  clock.after(10, () => {
    throw new Error('broken')
  })
  clock.after(10, () => done++)
  clock.after(20, () => done++)
  t.throws(() => pass(10), { message: 'broken' })
  pass(20)
  t.strictSame([done, timers.size], [2, 0])
})
