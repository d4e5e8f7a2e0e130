/** Waiting without sleep, with Node's immediates and moments replaced while a test runs. */
import t, { type Test } from 'tap'
import { BusyWait } from '../../src/platform/busy-wait.js'

/** An event loop that turns once in `turnMs`, as long as somebody asks for it. */
function loop(t: Test) {
  const real = { setImmediate, now: performance.now }
  t.teardown(() => {
    globalThis.setImmediate = real.setImmediate
    performance.now = real.now
  })
  const turnMs = 0.01
  let now = 1000
  let tasks: (() => void)[] = []
  performance.now = () => now
  globalThis.setImmediate = ((task: () => void) => tasks.push(task)) as never
  /** Lets time pass; returns how long the loop was kept from sleeping. */
  return (ms: number): number => {
    const until = now + ms
    let awakeMs = 0
    for (; now < until; now += turnMs) {
      if (tasks.length > 0) awakeMs += turnMs
      const due = tasks
      tasks = []
      for (const task of due) task()
    }
    return awakeMs
  }
}

t.test('it keeps the loop awake for a moment, and longer if something comes', async t => {
  const pass = loop(t)
  const wait = new BusyWait(2)
  t.equal(pass(1), 0)
  wait.begin()
  const alone = pass(10)
  t.ok(alone > 0.1 && alone < 0.25, `${alone} ms`)
  wait.begin()
  pass(alone / 2)
  wait.begin()
  wait.begin()
  const after = pass(10)
  t.ok(Math.abs(after - alone) < 0.03, `${after} ms`)
})

t.test('it ends when it is told to, and begins no more', async t => {
  const pass = loop(t)
  const wait = new BusyWait(2)
  wait.begin()
  pass(0.05)
  wait.end()
  wait.begin()
  t.ok(pass(10) < 0.03)
  wait.begin()
  t.equal(pass(10), 0)
})

t.test('it leaves the only processor to the peer', async t => {
  const pass = loop(t)
  const wait = new BusyWait(1)
  wait.begin()
  t.equal(pass(10), 0)
})

t.test(
  'it does not wait for long for peers that are slow, but learns when they are fast',
  async t => {
    const pass = loop(t)
    const wait = new BusyWait(2)
    const awake = (answers: number, everyMs: number) => {
      let ms = 0
      for (let i = 0; i < answers; i++) {
        wait.begin()
        ms += pass(everyMs)
      }
      return ms / answers
    }
    awake(100, 1)
    t.ok(awake(1000, 1) < 0.02, 'a tenth of what a wait takes')
    awake(100, 0.08)
    t.ok(awake(1000, 0.08) > 0.075, 'always')
  },
)
