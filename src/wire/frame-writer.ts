/**
 * What a connection sends: frames are written one after another into a chunk from the pool, and
 * handed to the socket when the turn ends or the chunk is full, in one write. A large body goes
 * out as its own bytes. While the socket has bytes that the kernel would not take, nothing more
 * is handed to it. A connection with nothing to send holds no chunk.
 */
import type { Socket } from '../platform/sockets.js'
import { Stage, type Turn, type TurnParty } from '../platform/turn.js'
import { type ChunkPool, chunkBytes } from '../structures/chunk-pool.js'

/** With more than this unsent, deliveries to the connection wait until the socket has taken it. */
const congestedBytes = 1024 * 1024

/** About so much is handed to the socket at a time: a slow reader that takes it shows that it lives. */
const handedBytes = 256 * 1024

/** Told when the socket stops taking bytes, and when it takes them again. */
export interface Congestion {
  congested(): void
  relieved(): void
}

export class FrameWriter implements TurnParty {
  /** Where the next byte goes in the chunk that `reserve` returned. */
  at = 0
  /** Bytes handed to the socket since the connection opened. */
  bytesSent = 0
  /** Nothing more is written: the socket ends once it has all. */
  finishing = false

  readonly #pool: ChunkPool
  readonly #turn: Turn
  readonly #socket: Socket
  readonly #congestion: Congestion
  #waitsForTurn = false
  /** The socket still holds bytes of ours. */
  #busy = false
  #closed = false
  #congested = false
  /** The chunk being filled: `chunk[#from..at)` has not been handed over. */
  #chunk: Buffer | null = null
  #from = 0
  /** Stretches in front of it that wait for the socket, and the bytes in them. */
  #unsent: Uint8Array[] = []
  #unsentBytes = 0
  /** Full chunks, to give back once the stretches above are written, or those the socket holds. */
  #lentUnsent: Buffer[] = []
  #lentBusy: Buffer[] = []

  constructor(pool: ChunkPool, turn: Turn, socket: Socket, congestion: Congestion) {
    this.#pool = pool
    this.#turn = turn
    this.#socket = socket
    this.#congestion = congestion
  }

  /** Makes room for `bytes` (at most a chunk's size) in one stretch; write to the result from `at` on, and move `at`. */
  reserve(bytes: number): Buffer {
    if (this.#chunk !== null && chunkBytes - this.at < bytes) this.#retire(bytes)
    if (this.#chunk === null) {
      this.#chunk = this.#pool.take()
      this.#from = 0
      this.at = 0
    }
    if (!this.#waitsForTurn) {
      this.#waitsForTurn = true
      this.#turn.add(Stage.flush, this)
    }
    return this.#chunk
  }

  /** Copies bytes (at most a chunk's size) into what is sent. */
  write(bytes: Uint8Array): void {
    this.reserve(bytes.length).set(bytes, this.at)
    this.at += bytes.length
  }

  /** Sends bytes without copying them; they must not change any more. */
  writeView(bytes: Uint8Array): void {
    this.reserve(0)
    this.#closeStretch()
    this.#unsent.push(bytes)
    this.#unsentBytes += bytes.length
    if (!this.#busy && this.#unsentBytes >= chunkBytes) this.#send()
    else this.#checkCongestion()
  }

  /** Bytes written here that the socket has not been given yet. */
  get unsentBytes(): number {
    return this.#unsentBytes + this.at - this.#from
  }

  /** True while the kernel does not take what the peer should read. */
  get busy(): boolean {
    return this.#busy
  }

  endTurn(): void {
    this.#waitsForTurn = false
    this.flush()
  }

  /** Hands everything to the socket, unless it is still busy with what it has. */
  flush(): void {
    if (this.#busy) return
    this.#send()
    if (!this.#busy) this.#release()
  }

  /** The socket has taken everything. */
  drained(): void {
    if (!this.#busy) return
    this.#busy = false
    this.#giveAll(this.#lentBusy)
    this.flush()
    if (this.finishing && !this.#busy) this.#socket.end()
    if (this.#congested && !this.#busy) {
      this.#congested = false
      this.#congestion.relieved()
    }
  }

  /** Ends the socket once everything is written. */
  finish(): void {
    if (this.finishing) return
    this.finishing = true
    this.flush()
    if (!this.#busy) this.#socket.end()
  }

  /** Gives the memory back; what is written later goes nowhere. */
  close(): void {
    this.#closed = true
    const chunks = [...this.#lentBusy, ...this.#lentUnsent]
    if (this.#chunk !== null) chunks.push(this.#chunk)
    // What the socket may still hold is left to the garbage collector: the kernel may yet read it.
    for (const chunk of chunks)
      if (this.#busy) this.#pool.forget()
      else this.#pool.give(chunk)
    this.#chunk = null
    this.#lentBusy = []
    this.#lentUnsent = []
    this.#busy = false
    this.#unsent = []
    this.#unsentBytes = 0
    this.#from = 0
    this.at = 0
  }

  /** Gets the full chunk out of the way: written at once if the socket is free. */
  #retire(wanted: number): void {
    if (!this.#busy) {
      this.#send()
      if (chunkBytes - this.at >= wanted) return
    }
    this.#closeStretch()
    this.#lentUnsent.push(this.#chunk as Buffer)
    this.#chunk = null
    this.#from = 0
    this.at = 0
    this.#checkCongestion()
  }

  #closeStretch(): void {
    if (this.at === this.#from) return
    this.#unsent.push((this.#chunk as Buffer).subarray(this.#from, this.at))
    this.#unsentBytes += this.at - this.#from
    this.#from = this.at
  }

  #checkCongestion(): void {
    if (this.#congested || !this.#busy || this.#unsentBytes <= congestedBytes) return
    this.#congested = true
    this.#congestion.congested()
  }

  /** Writes all there is; called only while the socket is free. */
  #send(): void {
    while (this.#unsentBytes > handedBytes) if (!this.#sendSome()) return
    const tail = this.at - this.#from
    const bytes = this.#unsentBytes + tail
    if (bytes === 0) return
    let taken = true
    if (!this.#closed) {
      this.bytesSent += bytes
      if (this.#unsent.length === 0) {
        taken = this.#socket.write((this.#chunk as Buffer).subarray(this.#from, this.at))
      } else {
        if (tail > 0) this.#closeStretch()
        taken = this.#socket.writeAll(this.#unsent)
      }
    }
    if (this.#unsent.length > 0) this.#unsent = []
    this.#unsentBytes = 0
    if (taken) {
      this.#giveAll(this.#lentUnsent)
      this.#from = 0
      this.at = 0
    } else {
      this.#busy = true
      const lent = this.#lentBusy
      this.#lentBusy = this.#lentUnsent
      this.#lentUnsent = lent
      this.#from = this.at
    }
  }

  /** Writes the first stretches of many. Their chunks come back with the rest. */
  #sendSome(): boolean {
    let count = 0
    let bytes = 0
    while (bytes < handedBytes) bytes += (this.#unsent[count++] as Uint8Array).length
    const stretches = this.#unsent.splice(0, count)
    this.#unsentBytes -= bytes
    if (this.#closed) return true
    this.bytesSent += bytes
    this.#busy = !this.#socket.writeAll(stretches)
    return !this.#busy
  }

  #release(): void {
    if (this.#chunk === null) return
    this.#pool.give(this.#chunk)
    this.#chunk = null
    this.#from = 0
    this.at = 0
  }

  #giveAll(chunks: Buffer[]): void {
    if (chunks.length === 0) return
    for (const chunk of chunks) this.#pool.give(chunk)
    chunks.length = 0
  }
}
