/** The logs of a data folder that no broker has open, for leveretctl. */
import { join, resolve } from 'node:path'
import { systemFilesToRead } from '../platform/files.js'
import { silence } from '../platform/log.js'
import { systemWorld } from '../platform/world.js'
import { type Inspection, inspectLog } from '../store/inspection.js'
import type { RecordFound } from '../store/recovery.js'
import { checkFolder, FolderRefused, logFolders } from './folder-format.js'
import { FolderLock } from './folder-lock.js'

/** One log that was read. */
export interface InspectedLog extends Inspection {
  /** `definitions` or `messages`. */
  readonly name: string
}

/** What was found in a data folder. */
export interface InspectedFolder {
  readonly folder: string
  /** Starts on this folder. */
  readonly epoch: number
  readonly logs: readonly InspectedLog[]
}

/**
 * Reads the logs of a data folder and changes nothing in them. `found` makes what hears of the
 * records of a log. Meanwhile no broker can start on the folder; rejects with FolderInUse if one
 * has it, and with FolderRefused if it is not for this version.
 */
export async function inspectFolder(
  path: string,
  found: (log: string) => RecordFound,
): Promise<InspectedFolder> {
  const folder = resolve(path)
  const files = systemFilesToRead
  const names = await files.list(folder)
  const epoch = await checkFolder(files, folder)
  if (epoch === 0) throw new FolderRefused(`${folder} is no data folder: nothing is kept in it`)
  const lock = await lockUnlessReadOnly(folder)
  try {
    const logs: InspectedLog[] = []
    for (const name of logFolders)
      if (names.includes(name))
        logs.push({ name, ...(await inspectLog(files, join(folder, name), found(name))) })
    return { folder, epoch, logs }
  } finally {
    await lock?.release()
  }
}

/** On a disk that takes no writes no broker can be running: null. */
async function lockUnlessReadOnly(folder: string): Promise<FolderLock | null> {
  try {
    return await FolderLock.take(folder, systemWorld(silence))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EROFS') return null
    throw error
  }
}
