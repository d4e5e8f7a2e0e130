/**
 * A connection: reads frames, keeps the channels, and turns what goes wrong anywhere below into
 * the close that the client gets. It gives way to others: one that has sent its share of a turn
 * is read on in the next, and one that does not read its output is not read from either.
 */
import type { Alarms } from '../broker/alarms.js'
import type { Broker } from '../broker/broker.js'
import type { Owner, Queue } from '../broker/queues/queue.js'
import type { SessionDescription } from '../broker/session-description.js'
import type { Session } from '../broker/sessions.js'
import type { Peer } from '../platform/peer.js'
import type { Socket, SocketOwner } from '../platform/sockets.js'
import type { TlsSession } from '../platform/tls-session.js'
import { Stage } from '../platform/turn.js'
import { decodeMethod, encodeMethodFrame } from '../wire/codec.js'
import { checkType, Frame, FrameParser, methodIdOf, unexpectedFrame } from '../wire/frame-parser.js'
import { type Congestion, FrameWriter } from '../wire/frame-writer.js'
import type { Arguments, Method, MethodName } from '../wire/methods.js'
import { AmqpError } from '../wire/replies.js'
import { Blocking } from './blocking.js'
import type { Channel } from './channel.js'
import { asAmqpError, closeFrame, isSoft } from './closing.js'
import { ConnectionLog } from './connection-log.js'
import type { ConnectionState } from './connection-state.js'
import { type Capability, Handshake, type HandshakeHost, LoginRefused } from './handshake.js'
import { Heartbeat, heartbeatFrame, type Watched } from './heartbeat.js'
import { Intake, Pause } from './intake.js'
import { OpenChannels } from './open-channels.js'
import { ProtocolHeader, protocolHeader } from './protocol-header.js'
import { describeConnection } from './session-description.js'
import type { ProtocolSettings } from './settings.js'

/** Frames taken before frame_max is agreed: room for a large token in start-ok. */
const firstFrameMax = 131_072

/** A connection that ends without an answer, or after one, stays open this long at most. */
const lingerMs = 3000

/** As above for a connection that ends as it should: the heartbeat, but no more than this. */
const patienceSecondsMax = 30

/** One connection's frames get this much of a turn, looked at every so many frames. */
const parseMs = 4
const framesPerLook = 32

/** With this much output unread, a connection is not read from. */
const unsentMax = 4 * 1024 * 1024

/** What is told when a connection ends. */
export interface ConnectionHost {
  /** What every client is greeted with, by TLS or not. */
  startFrame(tls: boolean): Buffer
  /** No further connection may be opened. */
  readonly isFull: boolean
  opened(connection: Connection): void
  closed(connection: Connection): void
  /** A peer on this machine has been answered and is about to go on. */
  expectsMore(): void
}

export class Connection implements SocketOwner, Congestion, HandshakeHost, Watched, Owner, Session {
  readonly settings: ProtocolSettings
  readonly writer: FrameWriter
  congestedOutput = false

  readonly #broker: Broker
  readonly #socket: Socket
  readonly #host: ConnectionHost
  readonly #intake: Intake
  readonly #blocking: Blocking
  readonly log: ConnectionLog
  readonly #parser = new FrameParser(firstFrameMax)
  readonly #handshake: Handshake
  readonly #channels: OpenChannels
  #state: ConnectionState = 'header'
  /** Null once it has come: pooled memory that a connection keeps would pin a thousand times as much. */
  #header: ProtocolHeader | null = new ProtocolHeader()
  #heartbeat: Heartbeat | null = null
  #cancelTimer: (() => void) | null = null
  /** Input that came before something stopped us, and is taken up after it. */
  #held: Buffer | null = null
  /** Queues that end with this connection. */
  readonly #exclusiveQueues = new Set<Queue>()

  constructor(socket: Socket, broker: Broker, settings: ProtocolSettings, host: ConnectionHost) {
    this.#socket = socket
    this.#broker = broker
    this.settings = settings
    this.#host = host
    this.writer = new FrameWriter(broker.chunks, broker.world.turn, socket, this)
    this.#intake = new Intake(socket, broker.world.turn, this.#takeUpHeld)
    this.#blocking = new Blocking(broker.alarms, broker.journal, this.#intake, this)
    this.#handshake = new Handshake(broker, settings, this)
    this.#channels = new OpenChannels(this, this.#handshake, broker.access)
    this.log = new ConnectionLog(broker.world.log, socket, this.#handshake)
    this.#cancelTimer = broker.world.clock.after(settings.handshakeTimeoutMs, () => {
      this.log.handshakeTimeout()
      socket.destroy()
    })
    socket.attach(this)
  }

  get frameMax(): number {
    return this.#handshake.frameMax
  }

  get user(): string {
    return this.#handshake.user
  }

  /** The addresses of both ends. */
  get name(): string {
    return this.log.connection
  }

  /** What client and broker have told each other at the beginning. */
  get agreed(): Handshake {
    return this.#handshake
  }

  /** The user may publish in the name of others. */
  get impersonates(): boolean {
    return this.#handshake.impersonates
  }

  get vhostName(): string {
    return this.#handshake.vhost?.name ?? ''
  }

  get channelCount(): number {
    return this.#channels.size
  }

  describe(): SessionDescription {
    return describeConnection(this, this.#channels.all, this.#blocking.state)
  }

  get alarms(): Alarms {
    return this.#broker.alarms
  }

  get fromLoopback(): boolean {
    return this.#socket.peer.fromLoopback
  }

  get peer(): Peer {
    return this.#socket.peer
  }

  get tls(): TlsSession | null {
    return this.#socket.tls
  }

  get isFull(): boolean {
    return this.#host.isFull
  }

  get bytesReceived(): number {
    return this.#intake.bytesReceived
  }

  get bytesSent(): number {
    return this.writer.bytesSent
  }

  get notReading(): boolean {
    return this.#intake.pausedFor(Pause.turn | Pause.alarm | Pause.log | Pause.work)
  }

  get waitsForReader(): boolean {
    return this.#intake.pausedFor(Pause.output)
  }

  get isStranger(): boolean {
    return this.#state === 'header' || this.#state === 'handshake'
  }

  /** Whether the client announced a capability. */
  can(capability: Capability): boolean {
    return this.#handshake.can(capability)
  }

  /** Writes a method. */
  send<M extends MethodName>(channel: number, name: M, args: Arguments<M>): void {
    this.writer.write(encodeMethodFrame(channel, name, args))
  }

  /** A channel has ended. */
  forget(channel: Channel): void {
    this.#channels.forget(channel)
  }

  /** A channel does what takes several turns, or has done it: meanwhile nothing is read. */
  work(inProgress: boolean): void {
    if (inProgress) this.#intake.pause(Pause.work)
    else this.#intake.resume(Pause.work)
  }

  /** Such work came to a bad end. */
  workFailed(error: unknown, channel: Channel): void {
    if (this.#state === 'running') this.#failed(error, channel, true)
  }

  owns(queue: Queue): void {
    this.#exclusiveQueues.add(queue)
  }

  disowns(queue: Queue): void {
    this.#exclusiveQueues.delete(queue)
  }

  /** Ends the connection from our side, for example `CONNECTION_FORCED`. */
  close(error: AmqpError): void {
    if (this.isStranger) this.#socket.destroy()
    else if (this.#state === 'running') this.#refuse(error, 0)
  }

  /** Work for this connection failed while another's was being done: it ends with 541 when the turn does. */
  failed(error: unknown): void {
    const endTurn = () => {
      if (this.#state === 'running') this.#failed(error, null, true)
    }
    this.#broker.world.turn.add(Stage.confirm, { endTurn })
  }

  /** Drops the connection without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  // --- input

  received(bytes: Buffer, length: number): void {
    this.#intake.count(length, bytes.length)
    if (this.#state === 'header') this.#receiveHeader(bytes.subarray(0, length))
    else this.#parse(bytes, 0, length)
    // It is being opened or closed.
    if (this.#channels.size === 0 && this.fromLoopback) this.#host.expectsMore()
  }

  ended(): void {
    // A client may send FIN right behind its close: the answer ends our side, or has.
    if (this.#state === 'leaving' || this.writer.finishing) return
    if (this.#state === 'running') this.log.lost()
    this.#teardown()
    this.#hangUp()
  }

  closed(): void {
    if (this.#state === 'running') this.log.lost()
    try {
      this.#teardown()
    } catch (error) {
      this.log.fault(error)
    }
    this.#state = 'closed'
    this.#cancelTimer?.()
    this.writer.close()
    this.#host.closed(this)
  }

  // --- output

  drained(): void {
    this.writer.drained()
    if (this.writer.unsentBytes <= unsentMax) this.#intake.resume(Pause.output)
  }

  congested(): void {
    this.congestedOutput = true
    this.#channels.congestion(true)
  }

  relieved(): void {
    this.congestedOutput = false
    this.#channels.congestion(false)
  }

  sendHeartbeat(): void {
    this.writer.write(heartbeatFrame)
  }

  peerIsSilent(): void {
    this.log.silent(this.#handshake.heartbeatSeconds)
    this.#socket.destroy()
  }

  /** A publish came while an alarm is set or the log is behind: nothing more is read until that is over. */
  blockPublisher(): void {
    if (this.#state === 'running') this.#blocking.block()
  }

  // ---

  #receiveHeader(bytes: Buffer): void {
    const header = this.#header as ProtocolHeader
    const taken = header.take(bytes)
    if (!header.complete) return
    this.#header = null
    if (!header.understood) {
      this.log.badHeader(header.octets)
      this.writer.write(protocolHeader)
      this.#hangUp(lingerMs)
      return
    }
    this.log.accepted()
    this.#state = 'handshake'
    this.writer.write(this.#host.startFrame(this.tls !== null))
    if (taken < bytes.length) this.#parse(bytes, taken, bytes.length)
  }

  #parse(bytes: Buffer, start: number, end: number): void {
    if (this.#held !== null) {
      // Came with the last of what was read before the pause took effect.
      this.#held = Buffer.concat([this.#held, bytes.subarray(start, end)])
      return
    }
    const parser = this.#parser
    parser.feed(bytes, start, end)
    const { clock } = this.#broker.world
    const deadline = clock.monotonicMs() + parseMs
    for (let frames = 1; this.#listens; frames++) {
      // Bytes do not tell what they cost: a fanout to ten thousand queues is a small frame.
      const late = frames % framesPerLook === 0 && clock.monotonicMs() > deadline
      if (late) this.#intake.pause(Pause.turn)
      const flooded = this.writer.unsentBytes > unsentMax
      if (flooded) this.#intake.pause(Pause.output)
      if (late || flooded || this.#intake.pausedFor(Pause.alarm | Pause.log | Pause.work)) {
        this.#held = Buffer.from(parser.chunk.subarray(parser.at, parser.limit))
        return
      }
      let channel: Channel | null = null
      let framed = false
      try {
        if (!parser.next()) return
        framed = true
        if (this.#state === 'running' && parser.channel !== 0) {
          channel = this.#channels.of(parser)
          channel?.accept(parser)
        } else {
          this.#acceptControl(parser)
        }
      } catch (error) {
        this.#failed(error, channel, framed)
      }
    }
  }

  /** Whether what comes still matters. */
  get #listens(): boolean {
    const state = this.#state
    return state === 'running' || state === 'handshake' || state === 'refused'
  }

  /** Takes a frame of channel 0, and every frame while the connection is not open. */
  #acceptControl(frame: FrameParser): void {
    if (this.#state === 'refused') {
      this.#acceptWhileClosing(frame)
      return
    }
    checkType(frame)
    if (frame.type === Frame.heartbeat) return
    if (frame.type !== Frame.method || frame.channel !== 0) throw unexpectedFrame(frame)
    const method = decodeMethod(frame.bytes, frame.start, frame.end)
    if (this.#state === 'handshake') {
      if (this.#handshake.accept(method)) this.#opened()
      else this.#parser.payloadMax = this.#handshake.frameMax || firstFrameMax
    } else this.#acceptWhileRunning(method)
  }

  #acceptWhileRunning(method: Method): void {
    if (method.name === 'connection.close') {
      this.log.closed()
      this.#state = 'leaving'
      // Not before the channels have ended: who sees the answer finds unacked messages in their queues.
      this.#teardown(() => {
        this.send(0, 'connection.close-ok', {})
        this.#hangUp()
      })
    } else if (method.name === 'connection.update-secret') {
      // A password is looked at when its user logs in, so a new one changes nothing here.
      this.log.secretUpdated(method.args.reason)
      this.send(0, 'connection.update-secret-ok', {})
    } else {
      throw new AmqpError('CHANNEL_ERROR', 'unexpected method in connection state running')
    }
  }

  #acceptWhileClosing(frame: FrameParser): void {
    if (frame.type !== Frame.method || frame.channel !== 0) return
    const id = methodIdOf(frame)
    if (id === connectionClose) this.send(0, 'connection.close-ok', {})
    else if (id === connectionCloseOk) this.#hangUp()
  }

  #opened(): void {
    this.#state = 'running'
    this.#cancelTimer?.()
    this.#cancelTimer = null
    const { heartbeatSeconds, frameMax } = this.#handshake
    this.#parser.payloadMax = frameMax
    const { clock, turn } = this.#broker.world
    if (heartbeatSeconds > 0) this.#heartbeat = new Heartbeat(this, clock, turn, heartbeatSeconds)
    this.log.opened()
    this.send(0, 'connection.open-ok', {})
    this.#handshake.openedAtMs = clock.wallMs()
    this.#broker.access.sessions.add(this)
    this.#host.opened(this)
  }

  /** Turns what was thrown into the close that it earns; `framed` is false if the frame itself could not be read. */
  #failed(thrown: unknown, channel: Channel | null, framed: boolean): void {
    if (thrown instanceof LoginRefused) {
      this.log.loginRefused(thrown.message)
      if (thrown.answer === null) this.#goSilent()
      else this.#refuse(thrown.answer, 0)
      return
    }
    if (this.#state === 'refused') {
      if (!framed) this.#state = 'deaf'
      return
    }
    if (!(thrown instanceof AmqpError)) this.log.fault(thrown)
    const error = asAmqpError(thrown)
    const methodId = error.methodId ?? channel?.methodId ?? this.#controlMethodId()
    if (channel !== null && isSoft(error)) {
      this.log.channelError(channel.number, error)
      channel.refuse()
      this.writer.write(closeFrame(channel.number, error, methodId))
      return
    }
    this.log.connectionError(error)
    const { state } = this.#handshake
    const stranger = state === 'starting' || state === 'securing'
    if (this.#state === 'handshake' && stranger) this.#goSilent()
    else this.#refuse(error, framed ? methodId : 0)
    if (!framed) this.#state = 'deaf'
  }

  /** On channel 0 only a method is to blame. */
  #controlMethodId(): number {
    return this.#parser.channel === 0 ? methodIdOf(this.#parser) : 0
  }

  /** Sends connection.close; from now on only the client's close and close-ok count. */
  #refuse(error: AmqpError, methodId: number): void {
    this.#teardown()
    this.#state = 'refused'
    this.writer.write(closeFrame(0, error, methodId))
    this.#lingerThenDestroy(error.reply === 'CONNECTION_FORCED' ? this.#patienceMs : lingerMs)
    this.#intake.resume(Pause.alarm | Pause.log)
  }

  /** Says nothing more and ends after a while, as RabbitMQ does with refused logins. */
  #goSilent(): void {
    this.#state = 'deaf'
    this.#lingerThenDestroy(lingerMs)
  }

  /** Everything is said: writes what there is and ends. */
  #hangUp(patienceMs = this.#patienceMs): void {
    this.#state = 'deaf'
    this.writer.finish()
    this.#lingerThenDestroy(patienceMs)
  }

  /** How long a client may take to read its last bytes, or to answer our close. */
  get #patienceMs(): number {
    const { heartbeatSeconds } = this.#handshake
    return Math.min(heartbeatSeconds || patienceSecondsMax, patienceSecondsMax) * 1000
  }

  #lingerThenDestroy(delayMs: number): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#broker.world.clock.after(delayMs, () => this.#socket.destroy())
  }

  /** Ends channels and exclusive queues: at once, so that a client that reconnects meets none of them. */
  #teardown(ended: (() => void) | null = null): void {
    this.#heartbeat?.stop()
    this.#heartbeat = null
    this.#broker.access.sessions.delete(this)
    this.#blocking.stop()
    this.#channels.close(() => {
      const { vhost } = this.#handshake
      for (const queue of [...this.#exclusiveQueues]) vhost?.removeQueue(queue)
    }, ended)
  }

  /** Takes up the input that came before the pause. */
  readonly #takeUpHeld = () => {
    const held = this.#held
    if (held === null) return
    this.#held = null
    this.#parse(held, 0, held.length)
  }
}

const connectionClose = 0x000a0032
const connectionCloseOk = 0x000a0033
