// What a persistent broker does with much data: a backlog larger than its memory, starting again on
// what it has kept, and giving disk space back. They restart the broker, so they are for ours only.

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Broker, OwnBroker } from './brokers.js'
import { nanoseconds, sleep } from './clock.js'
import { FrameWriter, methods } from './frames.js'
import { Link } from './link.js'
import { type Load, load } from './load.js'
import { readProcesses } from './processes.js'
import { Run, runLoad } from './run.js'
import { readyMessages, remove } from './topology.js'
import { type Figures, Meter, SETTLE_MS, type Trial, type TrialResult, takenIn } from './trials.js'

const persistent: Partial<Load> = {
  size: 1024,
  persistent: true,
  prefetch: 1000,
  ack: 50,
  confirmWindow: 4096,
}
/** For comparison: with a consumer that keeps the queue empty. */
const FLOWING_MS = { warmUpMs: 1000, measureMs: 5000 }
/** Disk space must have come back by then. */
const RECLAIM_MS = 10_000
/** Declarations that wait for their answers together. */
const PIPELINED = 100
/** What a broker with a large backlog may use; it begins to spare memory below. */
const MEMORY = ['--set', 'vm_memory_high_watermark.absolute=512MiB']

/** Publishes so many to a queue that nobody consumes, then consumes them all. */
export function largeBacklog(messages: number): Trial {
  return own(async (broker, own) => {
    const flowing = await runLoad(broker.address, load('bench', persistent), FLOWING_MS, () => {})
    await own.renewProbed(...MEMORY)
    const meter = new Meter(broker.pids)
    const run = await filling(broker, messages)
    try {
      await own.longestStepMs()
      meter.start()
      const { producers, perSecond, faults } = await publishAll(run)
      const ready = await takenIn(broker, run.load)
      if (ready !== messages) faults.push(`${messages - ready} lost`)
      const { diskBytes = 0, cpuMicros = 0 } = meter.figures(messages)
      const folderMiB = folderMebibytes(own.data)
      await sleep(SETTLE_MS)
      const { rssMiB } = readProcesses(broker.pids)
      const drained = await run.drain(producers)
      const { peakMiB } = readProcesses(broker.pids)
      const longestStepMs = await own.longestStepMs()
      await run.close()
      const figures: Figures = {
        ...{ perSecond, diskBytes, cpuMicros, folderMiB, rssMiB, peakMiB, longestStepMs },
        drainedPerSecond: drained.perSecond,
        publishedPercent: (100 * perSecond) / flowing.perSecond,
        drainedPercent: (100 * drained.perSecond) / flowing.perSecond,
      }
      return { figures, faults: [...flowing.faults, ...faults, ...drained.faults] }
    } catch (error) {
      await run.abandon()
      throw error
    }
  })
}

/** How long it takes to start with so many messages, after `kill -9` and after a stop. */
export function startWithMessages(messages: number): Trial {
  return own(async (broker, own) => {
    await own.renewProbed()
    const run = await filling(broker, messages)
    const { faults, perSecond } = await publishAll(run)
    await run.leave()
    const check = async (after: string): Promise<void> => {
      const ready = await readyMessages(broker.address, run.load)
      if (ready !== messages) faults.push(`${ready} of ${messages} are there after ${after}`)
    }
    const figures = await startsAgain(broker, own, check)
    await remove(broker.address, run.load)
    return { figures: { ...figures, perSecond }, faults }
  })
}

/** How long it takes to declare so many durable queues, and to start with them. */
export function startWithQueues(count: number): Trial {
  return own(async (broker, own) => {
    await own.renewProbed()
    const declaredPerSecond = await declareQueues(broker, count)
    const faults: string[] = []
    const check = async (after: string): Promise<void> => {
      const link = await Link.open(broker.address)
      const passive = queueDeclare(`queue.${count - 1}`, true)
      await link.call(passive, methods.queueDeclareOk).catch(() => {
        faults.push(`the last queue is gone after ${after}`)
      })
      link.destroy()
    }
    const figures = await startsAgain(broker, own, check)
    await own.renewProbed()
    return { figures: { ...figures, declaredPerSecond }, faults }
  })
}

/** Sends many messages through its queues, above some that nobody consumes; what is then on the disk? */
export function churn(wanted: Partial<Load> & { messages: number }, cold = 0): Trial {
  return own(async (broker, own) => {
    await own.renewProbed()
    const below = cold === 0 ? null : await filling(broker, cold, 'cold')
    if (below !== null) await publishAll(below)
    await below?.leave()
    const meter = new Meter(broker.pids)
    const run = await Run.prepare(broker.address, load('bench', { ...persistent, ...wanted }))
    try {
      await own.longestStepMs()
      meter.start()
      run.begin()
      const { perSecond, faults } = await run.finish(await run.publishedAll(), true)
      const { diskBytes = 0, cpuMicros = 0, peakMiB = 0 } = meter.figures(wanted.messages)
      await sleep(RECLAIM_MS)
      const longestStepMs = await own.longestStepMs()
      const folderMiB = folderMebibytes(own.data)
      if (below !== null) {
        const ready = await readyMessages(broker.address, below.load)
        if (ready !== cold) faults.push(`${cold - ready} cold ones lost`)
        await remove(broker.address, below.load)
      }
      await run.close()
      const figures = { perSecond, folderMiB, diskBytes, cpuMicros, peakMiB, longestStepMs }
      return { figures, faults }
    } catch (error) {
      await run.abandon()
      throw error
    }
  })
}

function own(trial: (broker: Broker, own: OwnBroker) => Promise<TrialResult>): Trial {
  return broker => {
    if (broker.own === null) throw new Error('only for a broker of ours, on a disk')
    return trial(broker, broker.own)
  }
}

function filling(broker: Broker, messages: number, name = 'bench'): Promise<Run> {
  return Run.prepare(broker.address, load(name, { ...persistent, consumers: 0, messages }))
}

async function publishAll(run: Run) {
  run.begin()
  return run.finish(await run.publishedAll(), false)
}

/** Kills and starts, stops and starts; `check` looks whether all is there. */
async function startsAgain(
  broker: Broker,
  own: OwnBroker,
  check: (after: string) => Promise<void>,
): Promise<Figures> {
  const startAfterKillMs = await own.restart('SIGKILL')
  const longestStepAtStartMs = await own.longestStepMs()
  const { peakMiB: peakWhileStartingMiB } = readProcesses(broker.pids)
  await check('kill -9')
  const startAfterStopMs = await own.restart('SIGTERM')
  await check('a stop')
  return { startAfterKillMs, startAfterStopMs, longestStepAtStartMs, peakWhileStartingMiB }
}

async function declareQueues(broker: Broker, count: number): Promise<number> {
  const link = await Link.open(broker.address)
  const begun = nanoseconds()
  for (let done = 0; done < count; done += PIPELINED) {
    const together = Math.min(PIPELINED, count - done)
    for (let i = 0; i < together; i++) link.write(queueDeclare(`queue.${done + i}`, false).take())
    for (let i = 0; i < together; i++) await link.expect(methods.queueDeclareOk)
  }
  const seconds = (nanoseconds() - begun) / 1e9
  await link.close()
  return count / seconds
}

function queueDeclare(queue: string, passive: boolean): FrameWriter {
  const request = new FrameWriter().method(1, methods.queueDeclare).u16(0).shortString(queue)
  return request
    .u8(passive ? 1 : 2)
    .table({})
    .end()
}

/** The blocks that the files of a folder take. */
function folderMebibytes(folder: string): number {
  let blocks = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    // a file may be removed meanwhile
    const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })
    blocks += stat?.blocks ?? 0
  }
  return (blocks * 512) / 2 ** 20
}
