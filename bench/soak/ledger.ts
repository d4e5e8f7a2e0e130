// What the driving process knows of each message, and what it may therefore demand of a broker that
// was killed: judged at every delivery, and when all queues have been drained.
//
// A stream is what one publisher sends on one route, numbered from 0. Of each message is known
// whether the broker confirmed it (it is owed: it must be delivered), and for each queue of the
// route whether it was delivered there, and when it was settled there. An epoch is one life of the
// broker process.

/** How long after an acknowledgement was processed it must be on the disk. */
export const SETTLE_MS = 1000

export const kinds = [
  'lost',
  'resurrected',
  'out of order',
  'not flagged',
  'torn transactions',
  'damaged',
  'definitions',
] as const
export type Kind = (typeof kinds)[number]

/** One life of the broker process, in milliseconds of the monotonic clock. */
export interface Epoch {
  readonly begunMs: number
  endedMs: number
  /** It was asked to stop, and did. */
  clean: boolean
}

const DELIVERED = 1
/** Delivered in a later epoch than the one it was published in: it was on the disk. */
const RECOVERED = 2

export class Ledger {
  readonly found = new Map<Kind, number>()
  readonly epochs: Epoch[] = []
  /** Of the current epoch. */
  confirmed = 0
  settled = 0
  cameBack = 0
  readonly #streams: Stream[] = []
  readonly #tell: (finding: string) => void

  constructor(tell: (finding: string) => void) {
    this.#tell = tell
  }

  /** A stream, and the queues through which its messages go. */
  stream(name: string, queues: Record<string, TrackSettings>): Stream {
    const stream = new Stream(this, this.#streams.length, name, queues)
    this.#streams.push(stream)
    return stream
  }

  /** The stream of this number; undefined if a damaged message names it. */
  numbered(number: number): Stream | undefined {
    return this.#streams[number]
  }

  get epoch(): Epoch {
    return this.epochs.at(-1) as Epoch
  }

  /** The life of the broker in which this moment lies. */
  epochAt(ms: number): Epoch {
    return this.epochs.findLast(({ begunMs }) => begunMs <= ms) as Epoch
  }

  begin(nowMs: number): void {
    this.epochs.push({ begunMs: nowMs, endedMs: Number.POSITIVE_INFINITY, clean: false })
    this.confirmed = 0
    this.settled = 0
    this.cameBack = 0
    for (const stream of this.#streams) stream.epochStart = stream.sent
  }

  end(nowMs: number, clean: boolean): void {
    this.epoch.endedMs = nowMs
    this.epoch.clean = clean
  }

  /** All queues are empty: whatever is owed and was not settled is lost. */
  checkDrained(): void {
    for (const stream of this.#streams) stream.checkDrained()
  }

  find(kind: Kind, what: string): void {
    const before = this.found.get(kind) ?? 0
    this.found.set(kind, before + 1)
    if (before < 10) this.#tell(`${kind}: ${what}`)
    else if (before === 10) this.#tell(`${kind}: and more`)
  }

  get findings(): number {
    return [...this.found.values()].reduce((sum, count) => sum + count, 0)
  }
}

export interface TrackSettings {
  /** Messages of one class must first come in the order of their numbers; null: any order. */
  readonly order: ((sequence: number) => number) | null
  /** Messages enter this queue when they leave another, not when they are published. If that was
   * not on the disk when the broker ended, they enter it a second time. */
  readonly entered?: true
  /** Which messages end here: these must be settled here. */
  readonly last: (sequence: number) => boolean
}

export class Stream {
  readonly number: number
  readonly name: string
  readonly tracks: ReadonlyMap<string, Track>
  /** Messages sent so far; those before `epochStart` in former epochs. */
  sent = 0
  epochStart = 0
  /** Messages of one transaction; 1: there are none. */
  transaction = 1
  /** True for messages that need not survive. */
  transient: (sequence: number) => boolean = () => false
  readonly #ledger: Ledger
  /** 1: confirmed. 2: found to be lost. */
  #owed = new Uint8Array(1024)
  /** All before these were judged at the last drain. */
  #judged = 0

  constructor(ledger: Ledger, number: number, name: string, queues: Record<string, TrackSettings>) {
    this.#ledger = ledger
    this.number = number
    this.name = name
    this.tracks = new Map(
      Object.entries(queues).map(([queue, settings]) => [
        queue,
        new Track(ledger, this, queue, settings),
      ]),
    )
  }

  /** The broker confirmed a message. */
  confirm(sequence: number): void {
    this.#ledger.confirmed++
    if (this.transient(sequence)) return
    this.#owed = grown(this.#owed, sequence)
    this.#owed[sequence] = 1
  }

  checkDrained(): void {
    const tracks = [...this.tracks.values()]
    for (let sequence = 0; sequence < this.sent; sequence++) {
      if (this.#owed[sequence] !== 1) continue
      const missing = tracks.filter(track => track.last(sequence) && !track.isSettled(sequence))
      if (missing.length === 0) continue
      this.#owed[sequence] = 2
      const where = missing.map(({ queue }) => queue).join(', ')
      this.#ledger.find('lost', `${this.name} ${sequence} in ${where}`)
    }
    if (this.transaction > 1) this.#checkTransactions(tracks)
    this.#judged = this.sent
  }

  /** Of a transaction that was never confirmed, all is there or nothing. */
  #checkTransactions(tracks: readonly Track[]): void {
    const first = this.#judged - (this.#judged % this.transaction)
    for (let from = first; from < this.sent; from += this.transaction) {
      let there = 0
      let missing = 0
      for (let sequence = from; sequence < from + this.transaction; sequence++) {
        if (tracks.some(track => track.wasRecovered(sequence))) there++
        else if (!tracks.some(track => track.last(sequence) && track.isSettled(sequence))) missing++
      }
      if (there > 0 && missing > 0) {
        const what = `${there} of ${this.transaction} from ${from}`
        this.#ledger.find('torn transactions', `${this.name}: ${what}`)
      }
    }
  }
}

/** What became of a stream's messages in one queue. */
export class Track {
  readonly queue: string
  readonly last: (sequence: number) => boolean
  readonly #ledger: Ledger
  readonly #stream: Stream
  readonly #settings: TrackSettings
  #seen = new Uint8Array(1024)
  /** When the message last came. */
  #cameMs = new Float64Array(1024)
  /** When the settlement was sent; 0: there is none. */
  #settledMs = new Float64Array(1024)
  /** From when on the settlement is promised to be on the disk; 0: nobody knows. */
  #durableMs = new Float64Array(1024)
  /** The highest message that came, by class. */
  readonly #highest: number[] = []

  constructor(ledger: Ledger, stream: Stream, queue: string, settings: TrackSettings) {
    this.#ledger = ledger
    this.#stream = stream
    this.queue = queue
    this.last = settings.last
    this.#settings = settings
  }

  isSettled(sequence: number): boolean {
    return (this.#settledMs[sequence] ?? 0) > 0
  }

  wasRecovered(sequence: number): boolean {
    return ((this.#seen[sequence] ?? 0) & RECOVERED) !== 0
  }

  /** The broker delivered a message. */
  deliver(sequence: number, redelivered: boolean, nowMs: number): void {
    this.#seen = grown(this.#seen, sequence)
    this.#cameMs = grown(this.#cameMs, sequence)
    this.#settledMs = grown(this.#settledMs, sequence)
    this.#durableMs = grown(this.#durableMs, sequence)
    const seen = this.#seen[sequence] as number
    const recovered = sequence < this.#stream.epochStart
    if (recovered) this.#ledger.cameBack++
    if (this.isSettled(sequence)) this.#settledBefore(sequence)
    if (recovered && this.#stream.transient(sequence))
      this.#ledger.find('resurrected', `${this.#what(sequence)}, which was transient`)
    if (!redelivered) this.#checkFlag(sequence, seen, recovered)
    if (seen === 0) this.#checkOrder(sequence)
    this.#cameMs[sequence] = nowMs
    this.#seen[sequence] = seen | DELIVERED | (recovered ? RECOVERED : 0)
  }

  /** An acknowledgement or a rejection was sent. */
  settle(sequence: number, nowMs: number): void {
    this.#ledger.settled++
    this.#settledMs[sequence] = nowMs
    this.#durableMs[sequence] = 0
  }

  /** The settlement is promised to be on the disk from then on. */
  settleDurably(sequence: number, fromMs: number): void {
    this.#durableMs[sequence] = fromMs
  }

  #settledBefore(sequence: number): void {
    const settledMs = this.#settledMs[sequence] as number
    const durableMs = this.#durableMs[sequence] as number
    const epoch = this.#ledger.epochAt(settledMs)
    const promised = durableMs > 0 && (durableMs <= epoch.endedMs || epoch.clean)
    if (epoch === this.#ledger.epoch || promised) {
      const ago = Math.round(epoch.endedMs - settledMs)
      const when = Number.isFinite(ago) ? `${ago} ms before the end` : 'in this life of the broker'
      this.#ledger.find('resurrected', `${this.#what(sequence)}, settled ${when}`)
    }
    this.#settledMs[sequence] = 0
    this.#durableMs[sequence] = 0
  }

  #checkFlag(sequence: number, seen: number, recovered: boolean): void {
    const unclean = recovered && this.#ledger.epochs.at(-2)?.clean === false
    if (seen > 0) {
      if (!this.#mayEnterAgain(sequence))
        this.#ledger.find('not flagged', `${this.#what(sequence)} again`)
    } else if (unclean && !this.#settings.entered)
      this.#ledger.find('not flagged', `${this.#what(sequence)}, recovered`)
  }

  /** It entered the queue so shortly before the end that this need not have been on the disk. */
  #mayEnterAgain(sequence: number): boolean {
    const cameMs = this.#cameMs[sequence] as number
    const { endedMs, clean } = this.#ledger.epochAt(cameMs)
    return this.#settings.entered === true && !clean && cameMs > endedMs - SETTLE_MS
  }

  #checkOrder(sequence: number): void {
    if (this.#settings.order === null) return
    const group = this.#settings.order(sequence)
    const highest = this.#highest[group] ?? -1
    if (sequence > highest) this.#highest[group] = sequence
    else this.#ledger.find('out of order', `${this.#what(sequence)} after ${highest}`)
  }

  #what(sequence: number): string {
    return `${this.#stream.name} ${sequence} in ${this.queue}`
  }
}

/** The array itself if it has this index, or a larger copy. */
function grown<A extends Uint8Array | Float64Array>(array: A, index: number): A {
  if (index < array.length) return array
  const larger = new (array.constructor as new (length: number) => A)(2 * index)
  larger.set(array)
  return larger
}
