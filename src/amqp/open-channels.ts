/** The channels of a connection: opened by their first frame, found for every further one, ended with it. */
import type { Access } from '../broker/access/access.js'
import { admitChannel } from '../broker/access/admission.js'
import type { Asker } from '../broker/access/rights.js'
import type { Vhost } from '../broker/vhost.js'
import { firstToLast } from '../structures/rotation.js'
import { decodeMethod } from '../wire/codec.js'
import { checkType, Frame, type FrameParser, methodIdOf } from '../wire/frame-parser.js'
import { AmqpError } from '../wire/replies.js'
import { Channel, notAMethod } from './channel.js'
import type { Connection } from './connection.js'
import type { Handshake } from './handshake.js'
import { channelCreated } from './session-events.js'

const methodOpen = 0x0014000a

export class OpenChannels {
  readonly #connection: Connection
  readonly #handshake: Handshake
  readonly #access: Access
  readonly #channels = new Map<number, Channel>()
  /** The channel of the last frame: mostly that of the next one. */
  #last: Channel | null = null

  constructor(connection: Connection, handshake: Handshake, access: Access) {
    this.#access = access
    this.#connection = connection
    this.#handshake = handshake
  }

  get size(): number {
    return this.#channels.size
  }

  get all(): Iterable<Channel> {
    return this.#channels.values()
  }

  /** The channel of a frame; null if the frame has opened it. Throws AmqpError. */
  of(frame: FrameParser): Channel | null {
    checkType(frame)
    const last = this.#last
    if (last !== null && last.number === frame.channel) return last
    const channel = this.#channels.get(frame.channel)
    if (channel === undefined) {
      this.#open(frame)
      return null
    }
    this.#last = channel
    return channel
  }

  /** A channel has ended. */
  forget(channel: Channel): void {
    this.#channels.delete(channel.number)
    if (this.#last === channel) this.#last = null
  }

  /** The connection's output is not being read, or is again: then another channel is the first to write. */
  congestion(congested: boolean): void {
    if (!congested) firstToLast(this.#channels)
    for (const channel of this.#channels.values()) channel.congestion(congested)
  }

  /**
   * Ends all channels, does `meanwhile` what ends with them, and calls `ended` when all is over;
   * null: the client does not listen any more.
   */
  close(meanwhile: () => void, ended: (() => void) | null): void {
    // One more than there are channels: the rest must be over as well.
    let left = this.#channels.size + 1
    const oneEnded = () => {
      if (--left === 0) ended?.()
    }
    for (const channel of [...this.#channels.values()])
      channel.close(() => {
        this.forget(channel)
        oneEnded()
      }, ended !== null)
    meanwhile()
    oneEnded()
  }

  #open(frame: FrameParser): void {
    const id = methodIdOf(frame)
    if (frame.type !== Frame.method) throw notAMethod()
    if (id !== methodOpen) throw new AmqpError('CHANNEL_ERROR', "expected 'channel.open'", id)
    const method = decodeMethod(frame.bytes, frame.start, frame.end)
    const { channelMax, rights, user, vhost } = this.#handshake
    if (this.#channels.size >= channelMax)
      throw new AmqpError(
        'NOT_ALLOWED',
        `number of channels opened (${this.#channels.size}) has reached the negotiated channel_max (${channelMax})`,
      )
    this.#admitOnNode(vhost as Vhost)
    admitChannel(this.#access, user)
    if (method.name !== 'channel.open') return
    const channel = new Channel(this.#connection, frame.channel, vhost as Vhost, rights as Asker)
    this.#channels.set(frame.channel, channel)
    channel.send('channel.open-ok', {})
    channelCreated(channel)
  }

  /** Refuses one more channel to a node that has as many as it may. */
  #admitOnNode({ events }: Vhost): void {
    const limit = this.#connection.settings.channelsPerNodeMax
    if (limit === Number.POSITIVE_INFINITY || this.#access.sessions.channelCount < limit) return
    throw new AmqpError(
      'NOT_ALLOWED',
      `number of channels opened on node '${events.nodeName}' has reached the maximum allowed limit of ${limit}`,
    )
  }
}
