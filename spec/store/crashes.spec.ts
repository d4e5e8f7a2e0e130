/** What a log promises, held against a disk that does its worst at any moment. */
import t from 'tap'
import { lives, noFigures } from '../support/log-bench.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

t.test('nothing durable is lost and nothing settled comes back, through 1,000 crashes', async t => {
  const figures = noFigures()
  const counts = { failed: 0, short: 0 }
  for (let seed = 1; figures.crashes < 1000; seed++) {
    const disk = new SimulatedDisk(seed)
    try {
      await lives(disk, seed, 10, figures)
    } catch (error) {
      t.fail(`seed ${seed}`, { error })
      return
    }
    counts.failed += disk.counts.failed
    counts.short += disk.counts.short
  }
  t.comment(JSON.stringify({ ...figures, ...counts }))
})
