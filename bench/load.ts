// What a load is: plain data that the main thread hands to the two worker threads, and the few
// counters they share while it runs.

import type { Table } from './frames.js'
import type { Address } from './link.js'

export interface Load {
  /** Prefix of its queues and its exchange. */
  name: string
  producers: number
  consumers: number
  queues: number
  /** Queues, the last ones, from which nobody consumes; with one producer on the default exchange. */
  undrained: number
  /** Bytes of a body, at least 16: the time, the stream and the sequence number stand there. */
  size: number
  /** 0: no acknowledgements; n: one for every n deliveries. */
  ack: number
  /** Acknowledges each message by itself, those of some hundred in random order. */
  shuffled: boolean
  prefetch: number
  exchange: 'default' | 'fanout' | 'topic' | 'headers' | 'x-consistent-hash'
  /** Bindings of each queue, each met by a routing key (or header) of its own. */
  bindings: number
  /** Of the routing keys that the bindings meet, as many are published; 0: all. To hash: how many there are. */
  keys: number
  /** Priorities rotate over 0 .. priorities - 1; 0: messages have none. */
  priorities: number
  queueArguments: Table
  /** Durable queues and exchange, and messages that survive a restart. */
  persistent: boolean
  /** Publisher confirms, at most this many outstanding; 0: none. */
  confirmWindow: number
  /** Messages per second, from one producer; 0: as many as the broker takes. */
  rate: number
  /** Ends after so many messages, from one producer; 0: when told. */
  messages: number
}

export function load(name: string, wanted: Partial<Load>): Load {
  return {
    name,
    producers: 1,
    consumers: 1,
    queues: 1,
    undrained: 0,
    size: 16,
    ack: 0,
    shuffled: false,
    prefetch: 0,
    exchange: 'default',
    bindings: 1,
    keys: 0,
    priorities: 0,
    queueArguments: {},
    persistent: false,
    confirmWindow: 0,
    rate: 0,
    messages: 0,
    ...wanted,
  }
}

/** Distinct routing keys. */
export function targets(load: Load): number {
  if (load.exchange === 'default') return load.queues
  return load.exchange === 'fanout' ? 1 : load.keys || bound(load)
}

/** What the bindings of all queues meet. */
export function bound(load: Load): number {
  return load.queues * load.bindings
}

/** Streams are what must stay in order: one per producer, routing key and priority. */
export function streams(load: Load): number {
  return load.producers * targets(load) * Math.max(load.priorities, 1)
}

/** How many deliveries follow from so many messages. */
export function deliveries(load: Load, published: number): number {
  if (load.exchange === 'fanout') return published * load.queues
  const drained = load.queues - load.undrained
  const rounds = Math.floor(published / load.queues)
  return load.undrained === 0
    ? published
    : rounds * drained + Math.min(published % load.queues, drained)
}

export const queueName = (load: Load, queue: number): string => `${load.name}.${digits(queue)}`
export const exchangeName = (load: Load): string =>
  load.exchange === 'default' ? '' : `${load.name}.${load.exchange}`

/** The routing key of a target; all are equally long, so that all encoded messages are. */
export function routingKey(load: Load, target: number): string {
  if (load.exchange === 'default') return queueName(load, target)
  if (load.exchange === 'topic') return `w${digits(target % 97)}.g${digits(target)}.e`
  return load.exchange === 'x-consistent-hash' ? `k${digits(target)}` : ''
}

/** A binding key that this target's routing key meets; for topics with wildcards of four kinds, for hashes a weight. */
export function bindingKey(load: Load, target: number): string {
  if (load.exchange === 'x-consistent-hash') return '1'
  if (load.exchange !== 'topic') return routingKey(load, target)
  const group = `g${digits(target)}`
  const word = `w${digits(target % 97)}`
  const kinds = [`${word}.${group}.*`, `${word}.${group}.#`, `*.${group}.e`, `*.${group}.#`]
  return kinds[target % kinds.length] as string
}

const digits = (value: number): string => String(value).padStart(5, '0')

/** What the threads of a load share, in an Int32Array. */
export const Cell = { phase: 0, published: 1, consumed: 2, count: 3 } as const
export const Phase = { warmingUp: 0, measuring: 1, stopped: 2 } as const

export interface WorkerTask {
  address: Address
  load: Load
  cells: Int32Array
}

/** Ends a consumer thread; says between which times the load was measured. */
export interface StopOrder {
  measuredFromNs: number
  measuredToNs: number
}

export interface ProducerReport {
  published: number
  nacked: number
  /** The latest a message of a fixed rate was sent after its time. */
  lateMicros: number
  /** From sending a message to its confirm, while measuring. */
  confirmP50Micros: number
  confirmP99Micros: number
}

export interface ConsumerReport {
  unique: number
  duplicates: number
  disordered: number
  redelivered: number
  /** Messages that later ones of their stream overtook and that never came. */
  passedOver: number
  /** When the last message came, on the clock of clock.ts. */
  lastAtNs: number
  p50Micros: number
  p99Micros: number
  maxMicros: number
  /** The longest time without a delivery while measuring. */
  longestPauseMs: number
}
