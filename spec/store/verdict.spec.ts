/** What is judged of a segment of very many small batches. */
import t from 'tap'
import { addToBatchCrc, type Block, Flag } from '../../src/store/block.js'
import { Pace } from '../../src/store/pace.js'
import { judge } from '../../src/store/verdict.js'
import { FakeClock } from '../support/fake-clock.js'

/** Batches of a block each, every one of which says that those before it were synced. */
function batches(count: number): Block[] {
  const blocks: Block[] = []
  let previous = 0
  for (let batch = 1; batch <= count; batch++) {
    const crc = Math.imul(batch, 0x9e3779b1) >>> 0
    const place = { offset: 64 + batch * 100, length: 68, carry: 0, block: 0 }
    blocks.push({ ...place, flags: Flag.last, previous, batch, lag: 1, crc })
    previous = addToBatchCrc(0, crc)
  }
  return blocks
}

t.test('a long segment is judged in steps, to the same end', async t => {
  const blocks = batches(50_000)
  blocks.splice(20_000, 3)
  const clock = new FakeClock()
  let pauses = 0
  const pace = new Pace(clock, 4, resume => {
    pauses++
    resume()
  })
  // Each look at the clock takes time.
  const monotonicMs = clock.monotonicMs.bind(clock)
  clock.monotonicMs = () => {
    clock.advance(1)
    return monotonicMs()
  }
  const inSteps = await judge(blocks, 1, 64, null, 0, pace)
  t.ok(pauses > 10, `${pauses} pauses`)
  const atOnce = await judge(blocks, 1, 64, null, 0)
  t.equal(inSteps.nextBatch, 50_000)
  t.equal(inSteps.doubtful.length, 1)
  t.equal(inSteps.steps.length, 49_997)
  t.match(inSteps.steps[20_000], { firstBatch: 20_001, lastBatch: 20_003 })
  t.ok(inSteps.crc === atOnce.crc && inSteps.end === atOnce.end)
})
