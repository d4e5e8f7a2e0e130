/**
 * The beginning of a connection, up to connection.open-ok: protocol header, start, tune, open,
 * and the refusals of each. Refused logins are answered only to clients that asked for it; the
 * others see the connection end after a while.
 */
import { admitConnection } from '../broker/access/admission.js'
import type { Asker } from '../broker/access/rights.js'
import { type Broker, vhostNamed } from '../broker/broker.js'
import type { Vhost } from '../broker/vhost.js'
import type { Peer } from '../platform/peer.js'
import type { TlsSession } from '../platform/tls-session.js'
import { encodeMethodFrame } from '../wire/codec.js'
import {
  decodeTable,
  type FieldTable,
  fieldTable,
  lookup,
  tableSize,
  writeTable,
} from '../wire/field-table.js'
import type { Arguments, Method, MethodName } from '../wire/methods.js'
import { AmqpError } from '../wire/replies.js'
import { offered, respond } from './sasl.js'
import { loggedIn, loginRefused } from './session-events.js'
import type { ProtocolSettings } from './settings.js'

/** Smallest frame_max taken: clients from before RabbitMQ 4.1 ask for it. */
const smallestFrameMax = 4096

/** What a client may announce that makes a difference here. */
const capabilities = [
  'authentication_failure_close',
  'connection.blocked',
  'consumer_cancel_notify',
] as const
export type Capability = (typeof capabilities)[number]

const nothing = Buffer.alloc(0)

/** Of a connection's name so much is kept. */
const nameBytesMax = 1024

/** States of the handshake, by the names that reply texts use. */
export type HandshakeState = 'starting' | 'securing' | 'tuning' | 'opening' | 'running'

/** A login that was refused: how the client hears of it depends on what it announced. */
export class LoginRefused extends Error {
  /** The close to send, or null for a connection that just ends. */
  readonly answer: AmqpError | null

  constructor(message: string, answer: AmqpError | null) {
    super(message)
    this.answer = answer
  }
}

/** The sending side, as far as the handshake needs it. */
export interface HandshakeHost {
  readonly name: string
  readonly peer: Peer
  readonly fromLoopback: boolean
  /** Null: the connection is not one of TLS. */
  readonly tls: TlsSession | null
  /** The broker has as many open connections as it may. */
  readonly isFull: boolean
  send<M extends MethodName>(channel: number, name: M, args: Arguments<M>): void
}

const noTable = Buffer.alloc(4)

export class Handshake {
  state: HandshakeState = 'starting'
  user = ''
  /** The user may publish in the name of others: as it was tagged when it logged in. */
  impersonates = false
  /** How the client proved to be the user. */
  mechanism = ''
  vhost: Vhost | null = null
  /** What the user may do in the vhost. */
  rights: Asker | null = null
  /** The name that the client gave the connection, or an empty one. */
  connectionName = ''
  /** What the client told of itself, as on the wire: seldom asked for, and small so. */
  #clientProperties: Buffer = noTable
  /** Wall time; 0 until it is open. */
  openedAtMs = 0
  /** What the client can do, of all that we ask it for. */
  readonly #capabilities = new Set<Capability>()
  /** What was agreed. */
  frameMax = 0
  channelMax = 0
  heartbeatSeconds = 0
  /** What the client said before it was asked for more. */
  #firstResponse = nothing

  readonly #broker: Broker
  readonly #settings: ProtocolSettings
  readonly #host: HandshakeHost

  /** What the client told of itself. */
  get clientProperties(): FieldTable {
    return decodeTable(this.#clientProperties, 4, this.#clientProperties.length)
  }

  constructor(broker: Broker, settings: ProtocolSettings, host: HandshakeHost) {
    this.#broker = broker
    this.#settings = settings
    this.#host = host
  }

  /** Whether the client announced a capability. */
  can(capability: Capability): boolean {
    return this.#capabilities.has(capability)
  }

  /** Takes the next method; true when the connection is open. Throws AmqpError or LoginRefused. */
  accept(method: Method): boolean {
    const { state } = this
    if (state === 'starting' && method.name === 'connection.start-ok') this.#startOk(method.args)
    else if (state === 'securing' && method.name === 'connection.secure-ok')
      this.#logIn(method.args.response)
    else if (state === 'tuning' && method.name === 'connection.tune-ok') this.#tuneOk(method.args)
    else if (state === 'opening' && method.name === 'connection.open') {
      this.#open(method.args)
      return true
    } else throw new AmqpError('CHANNEL_ERROR', `unexpected method in connection state ${state}`)
    return false
  }

  #startOk(args: Arguments<'connection.start-ok'>): void {
    const announced = lookup(args.clientProperties, 'capabilities')
    if (announced?.type === 'F')
      for (const capability of capabilities)
        if (lookup(announced.value, capability)?.value === true) this.#capabilities.add(capability)
    this.#clientProperties = encodedTable(args.clientProperties)
    // Kept as long as the connection, which its table, of any size, is not.
    const name = lookup(args.clientProperties, 'connection_name')
    if (name?.type === 'S') this.connectionName = name.value.toString('utf8', 0, nameBytesMax)
    const { mechanism } = args
    if (!offered(this.#settings, this.#host.tls !== null).includes(mechanism))
      throw new LoginRefused(`unknown mechanism '${mechanism}'`, null)
    this.mechanism = mechanism
    this.#logIn(args.response)
  }

  /** Takes a response to the mechanism: it is enough, or the client is asked for more. */
  #logIn(response: Buffer): void {
    const { mechanism } = this
    const { tls, fromLoopback } = this.#host
    const answer = respond(mechanism, response, this.#settings, tls, this.#firstResponse)
    if (answer === null)
      throw new LoginRefused(`${mechanism} login refused: malformed response`, null)
    if ('refusal' in answer) throw this.#refused(answer.refusal)
    if ('challenge' in answer) {
      // A copy: the bytes of a frame are somebody else's soon.
      this.#firstResponse = Buffer.from(response)
      this.state = 'securing'
      this.#host.send(0, 'connection.secure', answer)
      return
    }
    const { user, password } = answer
    const { users } = this.#broker
    const refusal =
      password === null
        ? users.refusalOfProven(user, fromLoopback)
        : users.refusal(user, password, fromLoopback)
    const { events } = this.#broker
    if (refusal !== null) {
      const reason = `user '${user}' - ${refusal}`
      loginRefused(events, this.#host, mechanism, user, reason)
      throw this.#refused(reason)
    }
    loggedIn(events, this.#host, mechanism, user)
    this.user = user
    this.impersonates = users.get(user)?.tags.includes('impersonator') ?? false
    this.state = 'tuning'
    const { channelMax, frameMax, heartbeatSeconds } = this.#settings
    this.#host.send(0, 'connection.tune', { channelMax, frameMax, heartbeat: heartbeatSeconds })
  }

  #refused(reason: string): LoginRefused {
    const { mechanism } = this
    return new LoginRefused(
      `${mechanism} login refused: ${reason}`,
      this.can('authentication_failure_close')
        ? new AmqpError(
            'ACCESS_REFUSED',
            `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
          )
        : null,
    )
  }

  #tuneOk(args: Arguments<'connection.tune-ok'>): void {
    const { channelMax, frameMax } = this.#settings
    refuseValue('channel_max', args.channelMax, 1, channelMax)
    refuseValue('frame_max', args.frameMax, smallestFrameMax, frameMax)
    this.channelMax = args.channelMax
    this.frameMax = args.frameMax
    this.heartbeatSeconds = args.heartbeat
    this.state = 'opening'
  }

  #open({ vhost: name }: Arguments<'connection.open'>): void {
    if (this.#host.isFull)
      throw new AmqpError(
        'NOT_ALLOWED',
        `connection refused: node connection limit (${this.#settings.maxConnections}) is reached`,
      )
    const { access } = this.#broker
    this.vhost = admitConnection(access, this.user, vhostNamed(name))
    this.rights = access.rights(this.user, this.vhost.name)
    this.state = 'running'
  }
}

/** The tuning that we offered is what a refused answer to it is blamed on. */
const methodTune = 0x000a001e

/** A value of tune-ok must keep within what was offered; 0 would mean no limit. */
function refuseValue(name: string, value: number, smallest: number, largest: number): void {
  if (value !== 0 && value >= smallest && value <= largest) return
  const received = name === 'channel_max' && value === 0 ? '0 (no limit)' : value
  const how =
    value === 0 || value > largest
      ? `higher than the maximum allowed value (${largest})`
      : `lower than the minimum allowed value (${smallest})`
  throw new AmqpError('NOT_ALLOWED', `negotiated ${name} = ${received} is ${how}`, methodTune)
}

/** The frame of connection.start: the same for every connection, or every one of TLS, so it is made once. */
export function startFrame(settings: ProtocolSettings, tls: boolean): Buffer {
  return encodeMethodFrame(0, 'connection.start', {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties: serverProperties(settings),
    mechanisms: Buffer.from(offered(settings, tls).join(' ')),
    locales: Buffer.from('en_US'),
  })
}

/** What connection.start tells of the broker; keys sorted, as RabbitMQ sends them. */
function serverProperties(settings: ProtocolSettings): FieldTable {
  return fieldTable({
    capabilities: {
      publisher_confirms: true,
      exchange_exchange_bindings: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      consumer_priorities: true,
      authentication_failure_close: true,
      per_consumer_qos: true,
      direct_reply_to: true,
    },
    cluster_name: settings.clusterName,
    copyright: 'Copyright (c) the Leveret authors',
    information: 'Licensed under the Apache License 2.0',
    leveret_version: settings.leveretVersion,
    platform: settings.platform,
    product: settings.product,
    version: settings.productVersion,
  })
}

/** A table with its length, in memory of its own: pooled memory would be held as long as the connection. */
function encodedTable(table: FieldTable): Buffer {
  const bytes = Buffer.allocUnsafeSlow(tableSize(table))
  writeTable(bytes, 0, table)
  return bytes
}
