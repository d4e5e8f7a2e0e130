/** What is known of an open connection, its channels and consumers, gathered when somebody asks. */
import type { TlsSession } from '../platform/tls-session.js'
import type { FieldTable } from '../wire/field-table.js'
import type { Queue } from './queues/queue.js'

export interface SessionDescription {
  /** The addresses of both ends, `10.0.0.7:40123 -> 10.0.0.1:5672`; no other open one has it. */
  readonly name: string
  /** The name that the client gave it, or an empty one. */
  readonly givenName: string
  readonly user: string
  readonly vhost: string
  /** `blocking`: it would be blocked if it published; `blocked`: it has. */
  readonly state: 'running' | 'blocking' | 'blocked' | 'flow'
  readonly peerHost: string
  readonly peerPort: number
  readonly host: string
  readonly port: number
  readonly mechanism: string
  readonly tls: TlsSession | null
  readonly clientProperties: FieldTable
  readonly channelMax: number
  readonly frameMax: number
  readonly heartbeatSeconds: number
  /** Wall time. */
  readonly openedAtMs: number
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly channels: readonly ChannelDescription[]
}

export interface ChannelDescription {
  readonly number: number
  /** For consumers to come; 0: none. */
  readonly prefetch: number
  /** For all of them together; 0: none. */
  readonly sharedPrefetch: number
  readonly confirms: boolean
  readonly transactional: boolean
  readonly unacked: number
  /** Publishes that are not confirmed yet. */
  readonly unconfirmed: number
  /** Publishes that wait for the commit. */
  readonly uncommitted: number
  readonly consumers: readonly ConsumerDescription[]
}

export interface ConsumerDescription {
  readonly tag: string
  readonly queue: Queue
  readonly noAck: boolean
  readonly exclusive: boolean
  /** False: another one of a single active consumer's queue has its turn. */
  readonly active: boolean
  readonly prefetch: number
  readonly arguments: FieldTable
}
