/** What a broker promises of its messages, held against a disk that does its worst at any moment. */
import t from 'tap'
import { Replay } from '../../src/broker/replay.js'
import { noChecksums, noFolderSync, noSync } from '../support/broken-files.js'
import { lives, noFigures, type Sabotage } from '../support/broker-bench.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

const livesPerDisk = 8

t.test('nothing confirmed is lost and nothing settled comes back, through 300 crashes', async t => {
  const figures = noFigures()
  let failed = 0
  for (let seed = 1; figures.crashes < 300; seed++) {
    const disk = new SimulatedDisk(seed)
    try {
      await lives(disk, seed, livesPerDisk, figures)
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}`)
      return
    }
    failed += disk.counts.failed
  }
  t.comment(JSON.stringify({ ...figures, failed }))
  t.ok(figures.crashesInRecovery > 40, 'crashes during recovery')
  t.ok(figures.kills > 10 && figures.cleanStops > 10, 'killed processes, proper stops')
  t.ok(figures.segments > 1000, 'segments')
  t.ok(figures.removed > 50 && figures.copied > 50, 'segments cleaned, messages copied')
  t.ok(figures.letters > 300 && figures.expired > 300, 'dead letters, expired messages')
  t.ok(figures.held > 20, 'letters that had not arrived')
  t.ok(figures.commits > 300 && figures.failedCommits > 20, 'transactions')
  t.ok(figures.fanouts > 1000, 'messages in several queues')
  t.ok(figures.withdrawn > 200 && failed > 100, 'failures of the disk, messages withdrawn')
  t.ok(figures.returns > 1000, 'counts of returns')
  t.ok(figures.confirmed > 5000 && figures.refused > 300, 'confirms of both kinds')
  t.ok(figures.settled > 5000 && figures.found > 5000, 'messages settled, and recovered')
})

/** What the checker may say. */
const finding =
  /is lost|came back|in part|is in \w+ and in|was never in|content of|stands behind|flag of|returns of|number of|is damaged|taken for/

/** What the checker finds within so many seeds. */
async function found(sabotage: Sabotage, seeds = 20): Promise<string> {
  for (let seed = 1; seed <= seeds; seed++)
    try {
      await lives(new SimulatedDisk(seed), seed, livesPerDisk, noFigures(), sabotage)
    } catch (error) {
      return (error as Error).message
    }
  return 'nothing'
}

t.test('the checker notices when a part does not work', async t => {
  t.match(await found({ files: noSync }), finding, 'no sync')
  t.match(await found({ files: noFolderSync }), finding, 'no directory sync')
  t.match(await found({ files: noChecksums }, 60), finding, 'no checksums')
  const told = { durableUpTo: Number.POSITIVE_INFINITY, wait: () => {} }
  t.match(await found({ progress: () => told }), finding, 'confirms before anything is durable')
  const { settled, returned } = Replay.prototype
  Replay.prototype.settled = () => {}
  t.match(await found({}), finding, 'no settlements')
  Replay.prototype.settled = settled
  Replay.prototype.returned = () => {}
  t.match(await found({}), finding, 'no counts of returns')
  Replay.prototype.returned = returned
})
