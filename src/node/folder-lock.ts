/**
 * The lock on a data folder: of all processes on this machine, in whatever containers, one at a
 * time holds it. Node has no file locks, and a file with a process id says nothing in a container,
 * where it is 1 each time. What the kernel does take back from a process that is killed is its
 * listening socket.
 *
 *     control-4711-9f3c2a1e.sock     a socket of a process that holds the lock, or wants to
 *     control.sock                   a link to the holder's: here one asks the broker
 *
 * Who wants the lock first listens on a socket in the folder, under a name nobody else ever uses,
 * then connects to all the others there, and holds the lock once nobody has answered. Of two who
 * try at once the later to listen finds the earlier, so never do both hold it. If each finds the
 * other, the one whose name is greater gives way. A socket on which nobody listens is that of a dead process, for
 * it got its name only when somebody did; anybody may remove it.
 *
 * Not promised: anything between machines that share a folder over a network.
 * `spec/node/folder-lock.spec.ts` starts many processes at once, and kills them.
 */
import { type FileHandle, open, readdir, rename, stat, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { World } from '../platform/world.js'
import { type Answerer, ask, type ControlLine, ControlSocket, NoAnswer } from './control-socket.js'
import { version } from './version.js'

/** The name under which the holder is asked. */
export const controlName = 'control.sock'

const socketName = /^control-(\d+)-[0-9a-f]+\.sock$/

/** A socket between being made and having its name: a moment, unless the process was killed in it. */
const newSocketName = /^control-\d+-[0-9a-f]+\.sock\.new$/
const newForMs = 60_000

/** Longest path of a socket, in bytes; Linux takes 107, macOS 103. */
const pathBytesMax = 103

/** While somebody else tries, it is asked again after so long. */
const pauseMs = 20

/** Who holds the lock and does not answer in this time is taken to be there all the same. */
const patienceMs = 2000

/** Somebody else holds the lock. */
export class FolderInUse extends Error {
  readonly pid: number

  constructor(folder: string, pid: number) {
    super(`the data folder ${folder} is in use by process ${pid}`)
    this.name = 'FolderInUse'
    this.pid = pid
  }
}

export class FolderLock {
  /** What programs on this machine may ask. */
  readonly answerers = new Map<string, Answerer>()
  readonly #folder: string
  readonly #world: World
  /** How the folder is named in paths of sockets. */
  #base: string
  #handle: FileHandle | null = null
  #control: ControlSocket | null = null
  #name = ''
  #holding = false

  /** Takes the lock on a folder, named by its full path; rejects with FolderInUse if somebody has it. */
  static async take(folder: string, world: World): Promise<FolderLock> {
    const lock = new FolderLock(folder, world)
    try {
      await lock.#shorten()
      await lock.#take()
      return lock
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  private constructor(folder: string, world: World) {
    this.#folder = folder
    this.#base = folder
    this.#world = world
    this.answerers.set('status', () => this.#status())
  }

  /** Lets others have the folder. */
  async release(): Promise<void> {
    // Nobody else touches the link as long as the socket is there.
    if (this.#holding) await unlink(this.#path(controlName)).catch(() => {})
    this.#holding = false
    await this.#withdraw()
    await this.#handle?.close()
    this.#handle = null
  }

  #status(): ControlLine {
    return { pid: process.pid, version, holding: this.#holding }
  }

  #path(name: string): string {
    return join(this.#base, name)
  }

  /** A path of a socket may not be long; on Linux an open folder has a short name. */
  async #shorten(): Promise<void> {
    const longest = this.#path(`control-${process.pid}-12345678.sock.new`)
    if (Buffer.byteLength(longest) <= pathBytesMax || process.platform !== 'linux') return
    this.#handle = await open(this.#folder)
    this.#base = `/proc/self/fd/${this.#handle.fd}`
  }

  async #take(): Promise<void> {
    while (!this.#holding) {
      if ((await this.#others()).length === 0) await this.#contend()
      else await this.#pause()
    }
    await unlink(this.#path(controlName)).catch(() => {})
    await symlink(this.#name, this.#path(controlName))
    await this.#removeUnnamed()
  }

  /** Removes sockets whose processes were killed before they had their names. */
  async #removeUnnamed(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (!newSocketName.test(name)) continue
      const made = await stat(this.#path(name)).catch(() => null)
      if (made !== null && made.mtimeMs < this.#world.clock.wallMs() - newForMs)
        await unlink(this.#path(name)).catch(() => {})
    }
  }

  /** Listens until it holds the lock, or gives way. */
  async #contend(): Promise<void> {
    await this.#announce()
    for (;;) {
      const others = await this.#others()
      if (others.length === 0) {
        this.#holding = true
        return
      }
      if (others.some(name => name < this.#name)) return this.#withdraw()
      await this.#pause()
    }
  }

  async #announce(): Promise<void> {
    this.#name = `control-${process.pid}-${this.#world.random.bytes(4).toString('hex')}.sock`
    const path = this.#path(this.#name)
    this.#control = await ControlSocket.listen(`${path}.new`, this.answerers)
    // Only now may anybody connect to it, and think it dead if that fails.
    await rename(`${path}.new`, path)
  }

  async #withdraw(): Promise<void> {
    if (this.#control === null) return
    await unlink(this.#path(this.#name)).catch(() => {})
    await this.#control.close()
    this.#control = null
    this.#name = ''
  }

  /** Sockets of others that also want the lock; rejects if one of them has it. Those of the dead go. */
  async #others(): Promise<string[]> {
    const live: string[] = []
    for (const name of await readdir(this.#folder)) {
      const owner = socketName.exec(name)?.[1]
      if (owner === undefined || name === this.#name) continue
      const answer = await this.#ask(name, Number(owner))
      if (answer === null) {
        await unlink(this.#path(name)).catch(() => {})
        continue
      }
      const { holding, pid } = answer
      if (holding !== false) throw new FolderInUse(this.#folder, Number(pid ?? owner))
      live.push(name)
    }
    return live
  }

  async #ask(name: string, pid: number): Promise<ControlLine | null> {
    try {
      return await ask(this.#path(name), { ask: 'status' }, patienceMs)
    } catch (error) {
      if (error instanceof NoAnswer) throw new FolderInUse(this.#folder, pid)
      throw error
    }
  }

  #pause(): Promise<void> {
    return new Promise(resolve => this.#world.clock.after(pauseMs, resolve))
  }
}
