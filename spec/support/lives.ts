/** One disk through several lives of what is kept on it, each with its troubles, ended by a crash or not. */
import type { Dice, SimulatedDisk } from './simulated-disk.js'

/** What is kept on the disk, and the checker that knows what was promised of it. */
export interface Subject {
  readonly dice: Dice
  /** Starts it; so likely each attempt ends in a crash before it is through. */
  open(crashes?: number): Promise<void>
  check(): Promise<void>
  work(rounds: number): Promise<void>
  /** The disk works again. */
  recovered(): Promise<void>
  /** Works while the disk is almost full; there is room again when it ends, or not. */
  workOnFullDisk(): Promise<void>
  end(): Promise<void>
}

const calm = { fail: 0, short: 0, names: 0 }

export async function liveThrough(
  disk: SimulatedDisk,
  subject: Subject,
  lives: number,
): Promise<void> {
  const { dice } = subject
  for (let life = 0; life < lives; life++) {
    disk.faults = { ...calm, short: dice.chance(0.3) ? 0.3 : 0 }
    disk.free = Number.POSITIVE_INFINITY
    await subject.open(0.3)
    await subject.check()
    const rounds = 5 + dice.below(55)
    await subject.work(rounds)
    if (dice.chance(0.3)) {
      disk.faults = { fail: 0.1, short: 0.1, names: 0.1 }
      await subject.work(rounds)
      if (dice.chance(0.5)) {
        disk.faults = calm
        await subject.recovered()
      }
    }
    if (dice.chance(0.4)) await subject.workOnFullDisk()
    await subject.work(dice.below(10))
    await subject.end()
  }
  disk.faults = calm
  disk.free = Number.POSITIVE_INFINITY
  await subject.open()
  await subject.check()
}
