// The broker under the soak: started on the same folder again and again, and ended in bad ways.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { firstHandshake, freePort, local, PROGRAM } from '../brokers.js'
import { nanoseconds, sleep } from '../clock.js'
import type { Address } from '../link.js'

/** What becomes of the broker at the end of a round. */
export type Ending = 'kill -9' | 'power cut' | 'stop'

/** A stop that takes longer has failed. */
const STOP_TIMEOUT_MS = 60_000
const DISK_MIB = 4096
/** How long the broker lives on without its disk: it must not confirm anything more. */
const AFTER_CUT_MS = 50

export class BrokerProcess {
  readonly address: Address
  readonly #folder: string
  readonly #disk: LoopDisk | null
  readonly #settings: readonly string[]
  readonly #log: WriteStream
  #child: ChildProcess | null = null
  #exited: Promise<void> = Promise.resolve()

  private constructor(
    port: number,
    folder: string,
    disk: LoopDisk | null,
    settings: readonly string[],
  ) {
    this.address = local(port)
    this.#folder = folder
    this.#disk = disk
    this.#settings = settings
    this.#log = createWriteStream(join(folder, 'broker.log'), { flags: 'a' })
  }

  /** Keeps everything in this folder; with `ownDisk`, on a disk of its own in a file there. */
  static async in(
    folder: string,
    ownDisk: boolean,
    settings: readonly string[],
  ): Promise<BrokerProcess> {
    const disk = ownDisk ? new LoopDisk(folder) : null
    return new BrokerProcess(await freePort(), folder, disk, settings)
  }

  /** Starts it; resolves with the milliseconds until its first handshake. */
  async start(): Promise<number> {
    return firstHandshake(this.address, this.#spawn())
  }

  /** Starts it and kills it some milliseconds later, mostly while it recovers. */
  async startInVain(afterMs: number): Promise<void> {
    this.#spawn()
    await sleep(afterMs)
    await this.end('kill -9')
  }

  /** True while it has not ended by itself. */
  get runs(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Ends it; resolves when it has gone. */
  async end(how: Ending): Promise<void> {
    const child = this.#child
    if (child === null) return
    const begunNs = nanoseconds()
    if (how === 'power cut') {
      this.#disk?.cut()
      await sleep(AFTER_CUT_MS)
    }
    child.kill(how === 'stop' ? 'SIGTERM' : 'SIGKILL')
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#exited
    clearTimeout(late)
    this.#child = null
    if (how === 'power cut') this.#disk?.remount()
    if (nanoseconds() - begunNs > STOP_TIMEOUT_MS * 1e6) throw new Error('it does not stop')
  }

  /** Leaves nothing running or mounted. */
  async close(): Promise<void> {
    await this.end('kill -9')
    this.#disk?.unmount()
    this.#log.end()
  }

  #spawn(): ChildProcess {
    const data = join(this.#disk?.mounted ?? this.#folder, 'data')
    const args = [PROGRAM, '--port', String(this.address.port), '--data', data, '--json']
    const child = spawn(process.execPath, [...args, ...this.#settings], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout?.pipe(this.#log, { end: false })
    child.stderr?.pipe(this.#log, { end: false })
    this.#child = child
    this.#exited = new Promise(resolve => child.once('exit', () => resolve()))
    return child
  }
}

/** An ext4 on a loop device, which can lose what was not synced. Needs root. */
class LoopDisk {
  readonly mounted: string
  readonly #image: string

  constructor(folder: string) {
    this.#image = join(folder, 'disk')
    this.mounted = join(folder, 'mounted')
    mkdirSync(this.mounted)
    run('truncate', '-s', `${DISK_MIB}M`, this.#image)
    run('mkfs.ext4', '-q', this.#image)
    this.#mount()
  }

  /** FS_IOC_SHUTDOWN without flushing the journal: from now on nothing reaches the disk. */
  cut(): void {
    const program =
      'open(my $f, "<", $ARGV[0]) or die $!; my $n = pack("L", 2); ioctl($f, 0x8004587d, $n) or die $!'
    run('perl', '-e', program, this.mounted)
  }

  remount(): void {
    this.unmount()
    this.#mount()
  }

  unmount(): void {
    run('umount', this.mounted)
  }

  #mount(): void {
    run('mount', '-o', 'loop', this.#image, this.mounted)
  }
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
