/**
 * Files as the store sees them, and their Node version. All work is done on Node's thread pool;
 * the caller decides how much of it there is at a time. A write or a read may be short, as in the
 * kernel: `writeAll` and `readAll` go on until nothing is left.
 */
import fs from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** Files and folders are for the broker's own user alone. */
const fileMode = 0o600
const folderMode = 0o700

/** An open file. */
export interface OpenFile {
  /** Writes stretches of bytes one behind the other; returns how many bytes the kernel took. */
  write(parts: readonly Uint8Array[], at: number): Promise<number>
  /** Returns once the content is on the disk. After a failure it means nothing any more. */
  sync(): Promise<void>
  /** Fills `into` from a place in the file; returns how many bytes there were. */
  read(into: Uint8Array, at: number): Promise<number>
  truncate(bytes: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

export interface Files {
  /** A new file; fails if there is one of that name. */
  create(path: string): Promise<OpenFile>
  /** A file that is there, for reading and writing. */
  open(path: string): Promise<OpenFile>
  /** A folder and those above it, on the disk when it returns; nothing happens if it is there. */
  makeFolder(path: string): Promise<void>
  /** Names in a folder, sorted. */
  list(folder: string): Promise<string[]>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Returns once the names in a folder are on the disk. */
  syncFolder(folder: string): Promise<void>
  /** Bytes that may still be written on the disk of a folder. */
  freeBytes(folder: string): Promise<number>
}

/** A place on the disk cannot be read; all else may be well. */
export const isBadPlace = (error: unknown) => codeOf(error) === 'EIO'

/** The system refused: what was asked for may be had another time. */
export const isSystemError = (error: unknown) => /^E[A-Z0-9]+$/.test(codeOf(error))

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code)
}

/** Writes all bytes, however many writes that takes. */
export async function writeAll(
  file: OpenFile,
  parts: readonly Uint8Array[],
  at: number,
): Promise<void> {
  let left = parts
  let place = at
  while (left.length > 0) {
    const written = await file.write(left, place)
    place += written
    left = without(left, written)
    if (written === 0 && left.length > 0) throw new Error('the disk takes no more bytes')
  }
}

/** Fills `into`, however many reads that takes; returns how many bytes there were before the end. */
export async function readAll(file: OpenFile, into: Uint8Array, at: number): Promise<number> {
  let filled = 0
  while (filled < into.length) {
    const count = await file.read(into.subarray(filled), at + filled)
    if (count === 0) break
    filled += count
  }
  return filled
}

/** The stretches of bytes without the first `count` bytes. */
function without(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skipped = 0
  let left = count
  while (skipped < parts.length && left >= (parts[skipped] as Uint8Array).length) {
    left -= (parts[skipped] as Uint8Array).length
    skipped++
  }
  if (left === 0) return skipped === 0 ? parts : parts.slice(skipped)
  return [(parts[skipped] as Uint8Array).subarray(left), ...parts.slice(skipped + 1)]
}

class NodeFile implements OpenFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  write(parts: readonly Uint8Array[], at: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#descriptor, parts, at, (error, written) =>
        error === null ? resolve(written) : reject(error),
      )
    })
  }

  sync(): Promise<void> {
    return done(call => fs.fdatasync(this.#descriptor, call))
  }

  read(into: Uint8Array, at: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, into, 0, into.length, at, (error, count) =>
        error === null ? resolve(count) : reject(error),
      )
    })
  }

  truncate(bytes: number): Promise<void> {
    return done(call => fs.ftruncate(this.#descriptor, bytes, call))
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, stats) =>
        error === null ? resolve(stats.size) : reject(error),
      )
    })
  }

  close(): Promise<void> {
    return done(call => fs.close(this.#descriptor, call))
  }
}

/** A promise of something that Node tells by a callback. */
function done(start: (call: (error: Error | null | undefined) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start(error => (error ? reject(error) : resolve()))
  })
}

function open(path: string, flags: string): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, fileMode, (error, descriptor) =>
      error === null ? resolve(new NodeFile(descriptor)) : reject(error),
    )
  })
}

/** Node's own way with `recursive` never ends where folders cannot be made, as in /proc. */
async function makeFolder(path: string): Promise<void> {
  const make = () => fs.promises.mkdir(path, { mode: folderMode })
  try {
    await make().catch(async error => {
      if (error.code !== 'ENOENT' || dirname(path) === path) throw error
      await makeFolder(dirname(path))
      await make()
    })
  } catch (error) {
    const there = await fs.promises.stat(path).catch(() => null)
    if (there?.isDirectory()) return
    throw error
  }
  await systemFiles.syncFolder(dirname(path))
}

/** The files of the machine. */
export const systemFiles: Files = {
  create: path => open(path, 'wx+'),
  open: path => open(path, 'r+'),
  makeFolder: path => makeFolder(resolve(path)),
  async list(folder) {
    return (await fs.promises.readdir(folder)).sort()
  },
  rename: (from, to) => fs.promises.rename(from, to),
  remove: path => fs.promises.unlink(path),
  async syncFolder(folder) {
    // Windows has no such thing: there, NTFS's own journal keeps names.
    if (folderSyncIsUnknown) return
    const opened = await fs.promises.open(folder, 'r')
    try {
      await opened.sync()
    } finally {
      await opened.close()
    }
  },
  async freeBytes(folder) {
    const { bavail, bsize } = await fs.promises.statfs(folder)
    return bavail * bsize
  },
}

/** The same files for who only looks: they need not be writable, and stay as they are. */
export const systemFilesToRead: Files = { ...systemFiles, open: path => open(path, 'r') }

/** Paths on Windows are joined with a backslash. */
const folderSyncIsUnknown = join('a', 'b') === 'a\\b'
