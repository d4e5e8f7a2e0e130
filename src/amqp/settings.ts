/** What the protocol side is told: limits, what it offers, and how it names itself. */

import type { SaslSettings } from './sasl.js'

export interface ProtocolSettings extends SaslSettings {
  readonly frameMax: number
  readonly channelMax: number
  readonly heartbeatSeconds: number
  readonly maxMessageBytes: number
  readonly handshakeTimeoutMs: number
  /** How long a stop waits for clients to answer. */
  readonly shutdownTimeoutMs: number
  readonly maxConnections: number
  readonly channelsPerNodeMax: number
  readonly consumersPerChannelMax: number
  readonly clusterName: string
  readonly product: string
  readonly productVersion: string
  readonly leveretVersion: string
  readonly platform: string
}
