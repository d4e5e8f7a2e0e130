/**
 * A disk in memory that does what disks do at their worst. What is written stays in the cache until
 * a sync; a power cut keeps any of the unsynced sectors, later ones without earlier ones, zeros
 * where a file had grown, and any of the names that no directory sync had covered. Each operation
 * takes some turns of the event loop, drawn from the seed, and may fail or be short.
 */
import type { Files, OpenFile } from '../../src/platform/files.js'

const sectorBytes = 512

/** Numbers from a seed (mulberry32): the same in every run. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }
}

/** What a file is, whatever its name. */
class Content {
  /** What a reader sees, and what is on the disk. */
  cached = Buffer.alloc(0)
  stored = Buffer.alloc(0)
  /** Sectors that differ between the two. */
  readonly dirty = new Set<number>()
  /** A sync failed: those that follow report success and store nothing (as Linux does). */
  forsaken = false

  write(bytes: Uint8Array, at: number): void {
    const end = at + bytes.length
    if (end > this.cached.length) this.#resize(end)
    this.cached.set(bytes, at)
    for (let sector = Math.floor(at / sectorBytes); sector * sectorBytes < end; sector++)
      this.dirty.add(sector)
  }

  truncate(size: number): void {
    this.#resize(size)
    for (const sector of this.dirty) if (sector * sectorBytes >= size) this.dirty.delete(sector)
    if (size % sectorBytes > 0) this.dirty.add(Math.floor(size / sectorBytes))
  }

  store(): void {
    this.stored = Buffer.from(this.cached)
    this.dirty.clear()
  }

  /** The power is cut: some of what was not stored is there all the same. */
  cut(dice: Dice): void {
    const grown = this.cached.length - this.stored.length
    const way = dice.next()
    let size = this.stored.length
    if (grown !== 0 && way > 0.2) size += way > 0.6 ? grown : dice.below(grown + 1)
    const after = Buffer.alloc(Math.max(0, size))
    this.stored.copy(after)
    const share = dice.next()
    for (const sector of this.dirty)
      if (dice.chance(share)) {
        const start = sector * sectorBytes
        this.cached.copy(after, start, start, Math.min(start + sectorBytes, this.cached.length))
      }
    this.stored = after
    this.cached = Buffer.from(after)
    this.dirty.clear()
    this.forsaken = false
  }

  #resize(size: number): void {
    const next = Buffer.alloc(size)
    this.cached.copy(next)
    this.cached = next
  }
}

/** How likely it is that an operation goes wrong. */
export interface Faults {
  /** Writes and syncs fail with EIO. */
  readonly fail: number
  /** Writes take only some of the bytes. */
  readonly short: number
  /** Creating and syncing names fail with EIO. */
  readonly names: number
  /** Syncs alone fail with EIO. */
  readonly syncs?: number
}

const noFaults: Faults = { fail: 0, short: 0, names: 0 }

/** Longest wait for an operation, in turns of the event loop. */
const delayMax = 3

export class SimulatedDisk {
  faults: Faults = noFaults
  /** The files, and folders, on which anything goes wrong. */
  failing: (path: string) => boolean = () => true
  /** Bytes that may still be written before ENOSPC. */
  free = Number.POSITIVE_INFINITY
  /** What has been done, by the name of the operation; `failed` counts those that went wrong. */
  readonly counts = { write: 0, sync: 0, create: 0, remove: 0, syncFolder: 0, failed: 0, short: 0 }
  /** Bytes that writes have taken. */
  writtenBytes = 0
  readonly #dice: Dice
  #names = new Map<string, Content>()
  /** Names as they are on the disk, and the changes since then in their order. */
  #storedNames = new Map<string, Content>()
  #changes: ((names: Map<string, Content>) => void)[] = []
  /** Operations begun before a crash never end. */
  #life = 0

  constructor(seed: number) {
    this.#dice = new Dice(seed)
  }

  /** The disk as one life of the machine sees it: after a crash nothing done through it returns. */
  session(): Files {
    const life = this.#life
    const later = <T>(act: () => T) => this.#later(life, act)
    return {
      create: path =>
        later(() => {
          this.counts.create++
          this.#maybeFail(path, this.faults.names)
          if (this.#names.has(path)) throw fault('EEXIST')
          const content = new Content()
          this.#change(names => names.set(path, content))
          return this.#file(life, path, content)
        }),
      open: path => later(() => this.#file(life, path, this.#content(path))),
      makeFolder: () => later(() => {}),
      list: folder =>
        later(() =>
          this.paths()
            .filter(path => path.startsWith(`${folder}/`))
            .map(path => path.slice(folder.length + 1)),
        ),
      rename: (from, to) =>
        later(() => {
          const content = this.#content(from)
          this.#change(names => {
            names.delete(from)
            names.set(to, content)
          })
        }),
      remove: path =>
        later(() => {
          this.counts.remove++
          this.free += this.#content(path).cached.length
          this.#change(names => names.delete(path))
        }),
      syncFolder: folder =>
        later(() => {
          this.counts.syncFolder++
          this.#maybeFail(`${folder}/`, this.faults.names)
          this.#settleNames()
        }),
      freeBytes: () => later(() => this.free),
    }
  }

  /** The machine loses its power. Operations at work never return; open files are dead. */
  crash(): void {
    this.#life++
    const names = new Map(this.#storedNames)
    const kept = this.#dice.below(this.#changes.length + 1)
    for (const [i, change] of this.#changes.entries())
      if (i < kept || this.#dice.chance(0.3)) change(names)
    for (const content of new Set([...names.values()])) content.cut(this.#dice)
    this.#names = names
    this.#settleNames()
  }

  /** The process is killed: the kernel keeps what was written. */
  kill(): void {
    this.#life++
  }

  /** The bytes of a file, for a test that changes them. */
  bytes(path: string): Buffer {
    const content = this.#content(path)
    return content.cached
  }

  /** A file with these bytes, all of them on the disk. */
  put(path: string, bytes: Buffer): void {
    const content = new Content()
    content.cached = Buffer.from(bytes)
    content.store()
    this.#names.set(path, content)
    this.#settleNames()
  }

  /** Takes a file away. */
  drop(path: string): void {
    this.#names.delete(path)
    this.#settleNames()
  }

  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  #file(life: number, path: string, content: Content): OpenFile {
    const later = <T>(act: () => T) => this.#later(life, act)
    return {
      write: (parts, at) => later(() => this.#write(path, content, parts, at)),
      sync: () => later(() => this.#sync(path, content)),
      read: (into, at) =>
        later(() => {
          const from = Math.min(at, content.cached.length)
          const count = Math.min(into.length, content.cached.length - from)
          const taken = count > 1 && this.#dice.chance(this.faults.short) ? count >> 1 : count
          into.set(content.cached.subarray(from, from + taken))
          return taken
        }),
      truncate: size => later(() => content.truncate(size)),
      size: () => later(() => content.cached.length),
      close: () => later(() => {}),
    }
  }

  #write(path: string, content: Content, parts: readonly Uint8Array[], at: number): number {
    this.counts.write++
    const bytes = Buffer.concat(parts)
    let taken = bytes.length
    if (this.#dice.chance(this.faults.short)) {
      this.counts.short++
      taken = 1 + this.#dice.below(taken)
    }
    const failing = this.#dice.chance(this.faults.fail) && this.failing(path)
    // A write that fails may have left some of its bytes behind.
    if (failing) taken = this.#dice.below(taken + 1)
    const growth = Math.max(0, at + taken - content.cached.length)
    if (growth > this.free) {
      this.counts.failed++
      throw fault('ENOSPC')
    }
    this.free -= growth
    this.writtenBytes += taken
    if (taken > 0) content.write(bytes.subarray(0, taken), at)
    if (failing) {
      this.counts.failed++
      throw fault('EIO')
    }
    return taken
  }

  #sync(path: string, content: Content): void {
    this.counts.sync++
    if (content.forsaken) return
    const likely = this.faults.syncs ?? this.faults.fail
    if (this.#dice.chance(likely) && this.failing(path)) {
      content.forsaken = true
      this.counts.failed++
      throw fault('EIO')
    }
    content.store()
  }

  #maybeFail(path: string, probability: number): void {
    if (!this.#dice.chance(probability) || !this.failing(path)) return
    this.counts.failed++
    throw fault('EIO')
  }

  #content(path: string): Content {
    const content = this.#names.get(path)
    if (content === undefined) throw fault('ENOENT')
    return content
  }

  #change(change: (names: Map<string, Content>) => void): void {
    change(this.#names)
    this.#changes.push(change)
  }

  #settleNames(): void {
    this.#storedNames = new Map(this.#names)
    this.#changes = []
  }

  /** Does something some turns later; never, if the machine has crashed in between. */
  #later<T>(life: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let turns = this.#dice.below(delayMax + 1)
      const wait = () => {
        if (life !== this.#life) return
        if (turns-- > 0) {
          setImmediate(wait)
          return
        }
        try {
          resolve(act())
        } catch (error) {
          reject(error)
        }
      }
      setImmediate(wait)
    })
  }
}

function fault(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code })
}
