/**
 * Keeps contents in memory within their share, by sending chunks out whose contents all have a
 * place on the disk, and has them read again for who needs them. Of the cold chunks (chunks.ts)
 * the newest leave first: the beginning of a backlog, where its delivery begins, stays longest.
 * Then the oldest hot ones leave: what was not needed for longest. Contents that the log does not
 * keep are written to the scratch file, chunk by chunk, and only then.
 */
import type { Clock } from '../platform/clock.js'
import { type Files, isSystemError } from '../platform/files.js'
import type { Logger } from '../platform/log.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import type { Chunk } from './chunks.js'
import { Eviction, type MessageTable, scratchBase } from './message-table.js'
import { Scratch, type ScratchSize } from './scratch.js'

/** What contents keep, however little memory there is. */
const defaultLeastBytes = 16 * 1024 * 1024

/** Time for sending chunks out in one turn. */
const stepMs = 2

/** Chunks which cannot leave yet, after which it looks no further: those that wait for the log are fewer. */
const missesMax = 1024

/** After looking in vain it looks again after so many times as long as that took. */
const patience = 10
const leastPauseMs = 5

/** Chunks written to the scratch file at once. */
const writtenAtOnce = 16

/** A content that is damaged is read so often, each time after a pause, before it is given up. */
const attempts = 3
const pauseMs = 1000

/** What the system does not let us read may be well another time: so often, with pauses twice as long each time. */
const attemptsAtDisk = 8

/** Where contents of logged messages can be read: the log. Answers with `loaded` or `unreadable`. */
export interface ContentSource {
  read(segment: number, offset: number, tag: number): void
}

/** Who asked for contents. */
export interface ContentWaiter {
  /** One that was asked for is in memory now, or lost, or nobody's. */
  contentCame(): void
}

/** A request that waits for its answer. */
interface Request {
  slot: number
  number: number
  segment: number
  offset: number
  failures: number
  waiter: ContentWaiter | null
}

export class Paging implements TurnParty {
  readonly #messages: MessageTable
  readonly #turn: Turn
  readonly #clock: Clock
  readonly #logger: Logger
  /** Where contents of logged messages are. */
  log: ContentSource | null = null
  #scratch: Scratch | null = null
  /** Contents and all the rest should take no more bytes than this. */
  limit = Number.POSITIVE_INFINITY
  /** Contents have at least these, whatever the rest takes. */
  leastBytes = defaultLeastBytes
  /** Bytes which the rest takes. */
  otherBytes: () => number = () => 0
  readonly #requests: Request[] = []
  readonly #idle: number[] = []
  /** Messages whose contents cannot be read: slot and number. */
  readonly #lost = new Map<number, number>()
  #waitsForTurn = false
  #notBefore = Number.NEGATIVE_INFINITY
  #writing = false
  /** Chunks that are to be written to the scratch file. */
  #outgoing: Chunk[] = []
  #scratchFails = false
  /** The system does not let us read, and that has been told. */
  #readsFail = false
  #closed = false
  /** What cancels the attempts that wait. */
  readonly #retries = new Set<() => void>()

  constructor(messages: MessageTable, turn: Turn, clock: Clock, logger: Logger) {
    this.#messages = messages
    this.#turn = turn
    this.#clock = clock
    this.#logger = logger
    messages.chunks.exceeded = () => this.#schedule()
  }

  /** From now on transient contents may leave memory too, for a folder that is emptied, as long as its disk has more room than the reserve. */
  async openScratch(files: Files, folder: string, size: ScratchSize = {}): Promise<void> {
    this.#scratch = await Scratch.open(files, folder, this, size)
    this.#messages.scratch = this.#scratch
  }

  /** Bytes of contents in the scratch file. */
  get scratchBytes(): number {
    return this.#scratch?.bytes ?? 0
  }

  /** Sees how much memory there is; to be called now and then. */
  look(): void {
    if (this.#exceeds()) this.#schedule()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const cancel of this.#retries) cancel()
    this.#retries.clear()
    await this.#scratch?.close()
  }

  /** Requests that are not answered. */
  get waiting(): number {
    return this.#requests.length - this.#idle.length
  }

  /** Asks for the content of a message that is not in memory; `waiter` hears when it is. */
  ask(slot: number, waiter: ContentWaiter): void {
    let tag = this.#idle.pop()
    if (tag === undefined) {
      tag = this.#requests.length
      this.#requests.push({ slot: 0, number: 0, segment: 0, offset: 0, failures: 0, waiter })
    }
    const request = this.#requests[tag] as Request
    request.slot = slot
    request.number = this.#messages.number(slot)
    request.failures = 0
    request.waiter = waiter
    this.#read(request, tag)
  }

  /** The content of a message cannot be had any more. */
  isLost(slot: number): boolean {
    const number = this.#lost.get(slot)
    if (number === undefined) return false
    if (number === this.#messages.number(slot)) return true
    this.#lost.delete(slot)
    return false
  }

  /** A message leaves a queue because its content cannot be had. */
  lose(slot: number, queue: string): void {
    const message = this.#messages.number(slot)
    this.#logger.error({ message, queue }, 'a message that cannot be read has left its queue')
  }

  /** Of the log and the scratch file: content that was asked for. */
  loaded(tag: number, bytes: Buffer, start: number, end: number): void {
    const request = this.#requests[tag] as Request
    this.#readsFail = false
    if (this.#isWanted(request)) {
      if (end - start !== this.#messages.size(request.slot)) {
        this.#failed(request, tag, new Error(`it has ${end - start} bytes`))
        return
      }
      this.#messages.load(request.slot, bytes, start, end)
    }
    this.#answer(request, tag)
  }

  /** Of the log and the scratch file: content that was asked for and cannot be had there. */
  unreadable(tag: number, error: Error): void {
    const request = this.#requests[tag] as Request
    const { segment, offset, slot } = request
    if (!this.#isWanted(request)) this.#answer(request, tag)
    else if (this.#messages.segment(slot) !== segment || this.#messages.offset(slot) !== offset)
      this.#read(request, tag)
    else this.#failed(request, tag, error)
  }

  /** Sends out what exceeds the share. */
  endTurn(): void {
    this.#waitsForTurn = false
    const { chunks } = this.#messages
    const begun = this.#clock.monotonicMs()
    if (!this.#exceeds() || begun < this.#notBefore) return
    const before = chunks.bytes
    const end = begun + stepMs
    let misses = 0
    for (let chunk = chunks.cold.newest ?? chunks.hot.oldest; chunk !== null; ) {
      const next: Chunk | null = chunk.cold ? (chunk.older ?? chunks.hot.oldest) : chunk.newer
      if (!this.#sendOut(chunk)) misses++
      if (chunks.bytes <= chunks.share) break
      if (misses > missesMax && !this.#scratchFails) break
      if (this.#clock.monotonicMs() > end) break
      chunk = next
    }
    this.#writeOut()
    const now = this.#clock.monotonicMs()
    if (chunks.bytes <= chunks.share) return
    if (chunks.bytes < before) this.#schedule()
    else this.#notBefore = now + Math.max(leastPauseMs, patience * (now - begun))
  }

  /** Whether there is more in memory than its share, as that is now. */
  #exceeds(): boolean {
    const { chunks } = this.#messages
    chunks.share = Math.max(this.leastBytes, this.limit - this.otherBytes())
    chunks.pool.short = 2 * chunks.bytes > chunks.share
    return chunks.bytes > chunks.share
  }

  /** Sends a chunk out; false: that cannot be yet. Some of those that cannot are noted for the scratch file. */
  #sendOut(chunk: Chunk): boolean {
    if (chunk.writing || this.#messages.chunks.filling(chunk)) return false
    const result = this.#messages.evict(chunk)
    if (result === Eviction.transient && !this.#writing && this.#outgoing.length < writtenAtOnce)
      this.#outgoing.push(chunk)
    return result === Eviction.done
  }

  /** Writes the chunks which were noted to the scratch file, whereupon they can leave. */
  #writeOut(): void {
    const chunks = this.#outgoing
    if (chunks.length === 0) return
    this.#outgoing = []
    if (this.#scratch !== null) void this.#write(chunks, this.#scratch)
  }

  async #write(chunks: readonly Chunk[], scratch: Scratch): Promise<void> {
    this.#writing = true
    for (const chunk of chunks) chunk.writing = true
    const parts = chunks.map(({ bytes, parts, pooled, filled }) =>
      pooled ? [bytes.subarray(0, filled)] : [bytes, ...(parts ?? [])],
    )
    const sizes = parts.map(some => some.reduce((sum, { length }) => sum + length, 0))
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    try {
      await scratch.write(parts.flat(), bytes, (segment, base) => {
        let placed = 0
        let at = base
        for (const [i, chunk] of chunks.entries()) {
          placed += this.#messages.placeScratched(chunk, segment, at)
          at += sizes[i] as number
        }
        return placed
      })
      this.#scratchFails = false
      this.#writing = false
      for (const chunk of chunks) {
        chunk.writing = false
        if (chunk.number >= 0) this.#messages.evict(chunk)
      }
      this.#notBefore = Number.NEGATIVE_INFINITY
      this.look()
    } catch (error) {
      for (const chunk of chunks) chunk.writing = false
      if (!this.#scratchFails)
        this.#logger.warn({ err: error }, 'transient messages cannot leave memory: scratch file')
      this.#scratchFails = true
      this.#afterPause(() => {
        this.#writing = false
        this.look()
      })
    }
  }

  #schedule(): void {
    if (this.#waitsForTurn || (this.log === null && this.#scratch === null)) return
    this.#waitsForTurn = true
    this.#turn.add(Stage.read, this)
  }

  #read(request: Request, tag: number): void {
    const { slot } = request
    const segment = this.#messages.segment(slot)
    const offset = this.#messages.offset(slot)
    request.segment = segment
    request.offset = offset
    if (segment >= scratchBase)
      (this.#scratch as Scratch).read(segment, offset, this.#messages.size(slot), tag)
    else (this.log as ContentSource).read(segment, offset, tag)
  }

  /** Somebody still holds the message, and its content is not in memory. */
  #isWanted({ slot, number }: Request): boolean {
    const messages = this.#messages
    return messages.holds(slot) && messages.number(slot) === number && !messages.inMemory(slot)
  }

  #failed(request: Request, tag: number, error: Error): void {
    const atDisk = isSystemError(error)
    if (atDisk && !this.#readsFail) {
      this.#readsFail = true
      this.#logger.warn({ reason: error.message }, 'messages cannot be read; it is tried again')
    }
    if (++request.failures < (atDisk ? attemptsAtDisk : attempts)) {
      const again = () => {
        if (this.#isWanted(request)) this.#read(request, tag)
        else this.#answer(request, tag)
      }
      this.#afterPause(again, atDisk ? pauseMs * 2 ** (request.failures - 1) : pauseMs)
      return
    }
    const { slot, number, segment, offset } = request
    this.#logger.error(
      { err: error, message: number, segment, offset },
      'the content of a message cannot be read',
    )
    this.#lost.set(slot, number)
    this.#answer(request, tag)
  }

  #afterPause(task: () => void, delayMs = pauseMs): void {
    if (this.#closed) return
    const cancel = this.#clock.after(delayMs, () => {
      this.#retries.delete(cancel)
      task()
    })
    this.#retries.add(cancel)
  }

  #answer(request: Request, tag: number): void {
    const waiter = request.waiter as ContentWaiter
    request.waiter = null
    this.#idle.push(tag)
    waiter.contentCame()
  }
}
