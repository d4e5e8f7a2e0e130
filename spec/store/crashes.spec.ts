/** What a log promises, held against a disk that does its worst at any moment. */
import t from 'tap'
import { noChecksums, noFolderSync, noSync } from '../support/broken-files.js'
import { lives, MapOwner, noFigures, type Sabotage } from '../support/log-bench.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

const livesPerDisk = 10

t.test('nothing durable is lost and nothing settled comes back, through 1,000 crashes', async t => {
  const figures = noFigures()
  let short = 0
  let failed = 0
  for (let seed = 1; figures.crashes < 1000; seed++) {
    const disk = new SimulatedDisk(seed)
    try {
      await lives(disk, seed, livesPerDisk, figures)
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}`)
      return
    }
    short += disk.counts.short
    failed += disk.counts.failed
  }
  t.comment(JSON.stringify({ ...figures, short, failed }))
  t.equal(figures.damages, 0, 'a crash is never taken for damage')
  t.ok(figures.crashesInRecovery > 100, 'crashes during recovery')
  t.ok(figures.crashesInCleaning > 100, 'crashes during cleaning')
  t.ok(figures.kills > 10 && figures.cleanStops > 10, 'killed processes, clean stops')
  t.ok(figures.removed > 100 && figures.copied > 100, 'segments cleaned, messages copied')
  t.ok(figures.torn > 100, 'torn tails')
  t.ok(figures.returned > 500, 'counts of returns')
  t.ok(figures.failures > 100 && failed > 100, 'failures of the disk')
  t.ok(short > 100, 'short writes')
  t.ok(figures.fullDisks > 100, 'disks that are almost full')
  t.ok(figures.segments > 1000 && figures.read > 1000, 'segments, and contents read back')
})

/** What the checker finds within so many seeds. */
async function found(sabotage: Sabotage, seeds: number): Promise<string> {
  for (let seed = 1; seed <= seeds; seed++)
    try {
      await lives(new SimulatedDisk(seed), seed, livesPerDisk, noFigures(), sabotage)
    } catch (error) {
      return (error as Error).message
    }
  return 'nothing'
}

t.test('the checker notices when a part of the log does not work', async t => {
  t.match(await found({ files: noSync }, 20), /is lost|came back|in part/, 'no sync')
  t.match(await found({ files: noFolderSync }, 20), /is lost|came back/, 'no directory sync')
  class ForgetsSettlements extends MapOwner {
    recovering = true
    override settled(queue: number, first: number, last: number): void {
      if (!this.recovering) super.settled(queue, first, last)
    }
  }
  t.match(await found({ owner: () => new ForgetsSettlements() }, 20), /came back/, 'no settlements')
  t.match(
    await found({ files: noChecksums }, 40),
    /content of|is lost|in part|in order|"firstBatch"/,
    'no checksums',
  )
})
