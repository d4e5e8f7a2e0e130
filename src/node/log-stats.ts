/** What the logs of a data folder hold: records by kind, and the messages that are left, by queue. */
import type { LogReplay } from '../store/log.js'
import { Kind, kindAt, replayRecord, sizeAt } from '../store/record.js'
import type { Targets } from '../store/targets.js'
import { absent, NumberIndex } from '../structures/number-index.js'
import { kindName } from './log-dump.js'
import type { QueueNames } from './queue-names.js'

/** A queue with messages in the log. */
export interface QueueFigures {
  readonly number: number
  /** Null: the queue was deleted, and its messages with it. */
  readonly vhost: string | null
  readonly name: string | null
  readonly messages: number
  readonly bytes: number
}

interface Count {
  messages: number
  bytes: number
}

export interface RecordCount {
  records: number
  bytes: number
}

export class LogFigures implements LogReplay {
  /** Records by kind, or by command. */
  readonly records = new Map<string, RecordCount>()
  /** Of the commands, what came since the last snapshot began. */
  #commandBytes = 0
  readonly #names: QueueNames
  /** Messages that some queue holds: a place in the lists below. */
  readonly #index = new NumberIndex()
  readonly #sizes: number[] = []
  /** Per message the queue that holds it, or the list of those that do. */
  readonly #holders: (number | number[])[] = []
  readonly #free: number[] = []
  readonly #queues = new Map<number, Count>()
  #size = 0

  constructor(names: QueueNames) {
    this.#names = names
  }

  /** Counts the record at `start`. */
  count(bytes: Buffer, start: number): void {
    this.#size = sizeAt(bytes, start)
    if (kindAt(bytes, start) !== Kind.opaque) this.#add(kindName(bytes, start))
    replayRecord(bytes, start, 0, 0, this)
  }

  /** Messages that some queue holds which there is, and bytes of all records that are needed. */
  left(): { readonly messages: number; readonly bytes: number } {
    let messages = 0
    let bytes = this.#commandBytes
    for (const [place, holders] of this.#holders.entries()) {
      if (!listOf(holders).some(queue => this.#names.get(queue) !== undefined)) continue
      messages++
      bytes += this.#sizes[place] as number
    }
    return { messages, bytes }
  }

  /** Queues with messages, those with most first. */
  queues(): QueueFigures[] {
    return [...this.#queues]
      .filter(([, { messages }]) => messages > 0)
      .map(([number, count]) => {
        const { vhost = null, name = null } = this.#names.get(number) ?? {}
        return { number, vhost, name, ...count }
      })
      .sort((a, b) => b.messages - a.messages || a.number - b.number)
  }

  message(number: number, targets: Targets): void {
    // Cleaning has appended it again.
    this.#forget(number)
    const place = this.#free.pop() ?? this.#sizes.length
    const holders = Array.from(targets.queues.subarray(0, targets.count))
    this.#index.set(number, place)
    this.#sizes[place] = this.#size
    this.#holders[place] = holders.length === 1 ? (holders[0] as number) : holders
    for (const queue of holders) this.#change(queue, 1, this.#size)
  }

  settled(queue: number, first: number, last: number): void {
    for (let number = first; number <= last; number++) {
      const place = this.#index.get(number)
      if (place === absent) continue
      const holders = this.#holders[place] as number | number[]
      if (holders === queue) this.#forget(number)
      if (typeof holders === 'number' || !holders.includes(queue)) continue
      this.#change(queue, -1, -(this.#sizes[place] as number))
      this.#holders[place] = holders.filter(holder => holder !== queue)
    }
  }

  returned(): void {}

  opaque(_number: number, bytes: Buffer, start: number, end: number): void {
    try {
      const { command } = this.#names.learn(bytes, start, end)
      if (command === 'snapshot.begun') this.#commandBytes = 0
      this.#add(command)
    } catch {
      this.#add('unreadable')
    }
    this.#commandBytes += this.#size
  }

  #add(kind: string): void {
    const count = this.records.get(kind) ?? { records: 0, bytes: 0 }
    count.records++
    count.bytes += this.#size
    this.records.set(kind, count)
  }

  #forget(number: number): void {
    const place = this.#index.get(number)
    if (place === absent) return
    const size = this.#sizes[place] as number
    for (const queue of listOf(this.#holders[place])) this.#change(queue, -1, -size)
    this.#holders[place] = []
    this.#index.delete(number)
    this.#free.push(place)
  }

  #change(queue: number, messages: number, bytes: number): void {
    const count = this.#queues.get(queue) ?? { messages: 0, bytes: 0 }
    count.messages += messages
    count.bytes += bytes
    this.#queues.set(queue, count)
  }
}

const listOf = (holders: number | readonly number[] | undefined) =>
  typeof holders === 'number' ? [holders] : (holders ?? [])
