// What the disk under a folder can do, measured so that figures of brokers can be read beside it.

import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { nanoseconds } from './clock.js'

const SYNCS = 100
const APPENDED_BYTES = 4096
/** The type that statfs gives for a folder in memory. */
const TMPFS = 0x0102_1994

/** The median time of an fdatasync after 4 KiB were appended, in microseconds; takes some 30 ms. */
export function medianSyncMicros(folder: string): number {
  const path = join(folder, 'bench-sync')
  const file = openSync(path, 'w')
  try {
    const bytes = Buffer.alloc(APPENDED_BYTES, 'leveret ')
    const times = Array.from({ length: SYNCS }, () => {
      writeSync(file, bytes)
      const begun = nanoseconds()
      fdatasyncSync(file)
      return (nanoseconds() - begun) / 1000
    })
    return times.sort((a, b) => a - b)[SYNCS / 2] as number
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

/** True if a folder is in memory, where a sync costs nothing and a power cut takes all. */
export function isInMemory(folder: string): boolean {
  return statfsSync(folder).type === TMPFS
}
