/** A log of which only the contents matter: places messages, moves them, and answers reads when it is told to. */
import type { MessageTable } from '../../src/store/message-table.js'
import type { ContentSource, Paging } from '../../src/store/paging.js'
import { Dice } from './simulated-disk.js'

interface Request {
  readonly segment: number
  readonly offset: number
  readonly tag: number
}

export class SimulatedContents implements ContentSource {
  /** Requests that wait for their answers. */
  readonly waiting: Request[] = []
  answers = 0
  readonly #paged = new Set<number>()
  /** How likely it is that a read fails although there is something to read; not twice in a row. */
  faults = 0
  /** What every read fails with; null: none does. */
  fault: Error | null = null
  readonly #failed = new Set<number>()
  readonly #messages: MessageTable
  readonly #paging: Paging
  readonly #contents = new Map<number, Buffer>()
  readonly #dice: Dice
  #next = 0

  constructor(messages: MessageTable, paging: Paging, seed = 1) {
    this.#messages = messages
    this.#paging = paging
    this.#dice = new Dice(seed)
    paging.log = this
  }

  /** A message that is in memory is durable from now on. */
  place(slot: number): void {
    const messages = this.#messages
    messages.locate(slot)
    const whole = [messages.bytes.subarray(messages.start, messages.end), ...(messages.parts ?? [])]
    this.#put(slot, Buffer.concat(whole))
  }

  /** The place of a message is another from now on, and nothing is at the old one any more. */
  move(slot: number): void {
    const before = this.#messages.offset(slot)
    this.#put(slot, this.#contents.get(before) as Buffer)
    this.#contents.delete(before)
  }

  /** All messages that are not in memory move. */
  moveAll(): void {
    for (const slot of this.#paged) {
      const gone = !this.#messages.holds(slot) || this.#messages.inMemory(slot)
      if (gone) this.#paged.delete(slot)
      else this.move(slot)
    }
  }

  /** The content of a message that is not in memory. */
  content(slot: number): Buffer {
    return this.#contents.get(this.#messages.offset(slot)) as Buffer
  }

  /** All large messages, which have chunks of their own, leave memory. */
  pageOut(): void {
    const { hot, cold } = this.#messages.chunks
    for (const list of [hot, cold])
      for (let chunk = list.oldest; chunk !== null; ) {
        const { newer } = chunk
        if (!chunk.pooled) {
          if (chunk.segment < 0) this.place(chunk.slot)
          this.#messages.evict(chunk)
          this.#paged.add(chunk.slot)
        }
        chunk = newer
      }
  }

  /** Nothing can be read any more where the message is. */
  damage(slot: number): void {
    this.#contents.delete(this.#messages.offset(slot))
  }

  read(segment: number, offset: number, tag: number): void {
    this.waiting.push({ segment, offset, tag })
  }

  /** Answers so many requests, in any order. */
  answer(most = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < most && this.waiting.length > 0; i++) {
      this.answers++
      const place = this.#dice.below(this.waiting.length)
      const [{ segment, offset, tag }] = this.waiting.splice(place, 1) as [Request]
      const content = this.#contents.get(offset)
      if (this.fault !== null) {
        this.#paging.unreadable(tag, this.fault)
        continue
      }
      const fails = !this.#failed.delete(offset) && this.#dice.chance(this.faults)
      if (fails) this.#failed.add(offset)
      if (content === undefined || segment !== offset >> 3 || fails) {
        this.#paging.unreadable(tag, new Error('nothing can be read there'))
        continue
      }
      const around = Buffer.concat([Buffer.alloc(3), content, Buffer.alloc(3)])
      this.#paging.loaded(tag, around, 3, 3 + content.length)
      around.fill(0xff)
    }
  }

  #put(slot: number, content: Buffer): void {
    const offset = this.#next++
    this.#contents.set(offset, content)
    this.#messages.setLogged(slot)
    this.#messages.place(slot, offset >> 3, offset)
  }
}
