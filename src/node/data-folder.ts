/**
 * The data folder: made if it is not there, locked against other processes, and of a format that
 * this version knows. Only this user may look into it.
 *
 *     data/
 *       format.json              folder-format.ts
 *       control.sock, control-*  folder-lock.ts
 *       definitions/, messages/  the logs
 *       scratch/                 contents of transient messages that left memory; empty at a start
 */
import { resolve } from 'node:path'
import type { World } from '../platform/world.js'
import { enterFolder, FolderRefused } from './folder-format.js'
import { FolderInUse, FolderLock } from './folder-lock.js'

export class DataFolder {
  /** Its full path. */
  readonly path: string
  /** Counts the starts on this folder, from 1. */
  readonly epoch: number
  readonly #lock: FolderLock

  private constructor(path: string, epoch: number, lock: FolderLock) {
    this.path = path
    this.epoch = epoch
    this.#lock = lock
  }

  /** Rejects with FolderInUse or FolderRefused, whose messages are for the operator. */
  static async open(path: string, world: World): Promise<DataFolder> {
    const whole = resolve(path)
    try {
      await world.files.makeFolder(whole)
      const lock = await FolderLock.take(whole, world)
      try {
        return new DataFolder(whole, await enterFolder(world.files, whole), lock)
      } catch (error) {
        await lock.release()
        throw error
      }
    } catch (error) {
      if (error instanceof FolderInUse || error instanceof FolderRefused) throw error
      const { message } = error as Error
      throw new FolderRefused(`the data folder ${whole} cannot be used: ${message}`, {
        cause: error,
      })
    }
  }

  /** Lets others have the folder. */
  close(): Promise<void> {
    return this.#lock.release()
  }
}
