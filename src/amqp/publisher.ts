/**
 * The publishing side of a channel: reads basic.publish and its content, checks them, and gives
 * the message to the vhost. A message whose frames all stand in the bytes at hand is published
 * where it stands; only one that comes in pieces is put together first.
 */
import type { Arrival } from '../broker/arrival.js'
import type { Exchange } from '../broker/exchanges/exchange.js'
import { expirationMsOf } from '../broker/expiration.js'
import { exchangeIn, replyQueue } from '../broker/names.js'
import type { Route } from '../broker/router.js'
import { mayHaveSenderSelected, senderSelectedKeys } from '../broker/sender-selected.js'
import { Outcome, type Vhost } from '../broker/vhost.js'
import { Mark } from '../store/message-table.js'
import { decodeMethod } from '../wire/codec.js'
import {
  Frame,
  type FrameParser,
  frameEnd,
  frameHead,
  frameOverhead,
} from '../wire/frame-parser.js'
import { writeReturn } from '../wire/hot-methods.js'
import { headerFieldsBytes, type Message, rebuild } from '../wire/message.js'
import {
  checkProperties,
  decodeProperties,
  deliveryModeOf,
  expirationAt,
  headersAt,
  persistentMode,
  priorityOf,
  replyToAt,
  userIdAt,
  withReplyTo,
} from '../wire/properties.js'
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'
import { Content } from './content.js'

/** Of a publish's payload: method id and ticket stand before the exchange. */
const beforeAddress = 6

const bitMandatory = 1
const bitImmediate = 2

/** Property flags: a message that has only the delivery mode needs no closer look. */
const onlyDeliveryMode = 0x1000

/** What basic.return says: 312, NO_ROUTE, as on the wire. */
const noRoute = Buffer.from('\x01\x38\x08NO_ROUTE', 'latin1')

/** Where a publish in progress stands. */
type Awaiting = 'nothing' | 'header' | 'body'

export class Publisher {
  awaiting: Awaiting = 'nothing'
  readonly #channel: Channel
  readonly #vhost: Vhost
  readonly #arrival: Arrival
  readonly #content: Content
  #mandatory = false
  #route: Route | null = null
  /** The exchange that the user may write to in this generation of routes. */
  #writable: Exchange | null = null
  #generation = -1

  constructor(channel: Channel, vhost: Vhost) {
    this.#channel = channel
    this.#vhost = vhost
    this.#content = new Content(vhost.messages)
    this.#arrival = vhost.arrival
  }

  /** basic.publish came; `mayTakeWhole` allows to take its content out of the same bytes at once. */
  publish(frame: FrameParser, mayTakeWhole: boolean): void {
    const { bytes, start, end } = frame
    const address = start + beforeAddress
    const bits = bitsAt(bytes, address, end)
    if (bits < 0) {
      decodeMethod(bytes, start, end)
      throw new AmqpError('FRAME_ERROR', 'cannot decode basic.publish')
    }
    const flags = bytes[bits] as number
    if ((flags & bitImmediate) !== 0) throw new AmqpError('NOT_IMPLEMENTED', 'immediate=true')
    this.#mandatory = (flags & bitMandatory) !== 0
    if (mayTakeWhole && bytes === frame.chunk) {
      const whole = this.#wholeContent(frame, bits + 2)
      if (whole > 0) {
        this.#arrival.message.at(bytes, address, whole, null)
        frame.at = whole
        this.#complete(false)
        return
      }
    }
    this.#content.begin(bytes, address, end + 1)
    this.awaiting = 'header'
  }

  /** The content header came. */
  header(frame: FrameParser): void {
    this.#content.header(frame, this.#channel.maxMessageBytes)
    this.awaiting = 'body'
    if (this.#content.bodyLeft === 0) this.#assembled()
  }

  /** A piece of a body frame came; the last one completes the message with the end of its frame. */
  body(frame: FrameParser): void {
    this.#content.body(frame.bytes, frame.start, frame.end)
    if (this.#content.bodyLeft === 0 && frame.complete) this.#assembled()
  }

  /** The channel is closed in the middle of a publish. */
  close(): void {
    this.awaiting = 'nothing'
    this.#content.drop()
  }

  /**
   * Where the message ends whose content header stands at `header`, if the header frame and one
   * body frame with all of the body follow each other and nothing about them is unusual; else -1,
   * and the long way finds out what is wrong or missing.
   */
  #wholeContent(frame: FrameParser, header: number): number {
    const { chunk, limit, channel, payloadMax } = frame
    if (limit - header < frameOverhead + headerFieldsBytes + 2) return -1
    const high = channel >>> 8
    const low = channel & 0xff
    if (chunk[header] !== Frame.header || chunk[header + 1] !== high || chunk[header + 2] !== low)
      return -1
    const payload = chunk.readUInt32BE(header + 3)
    const body = header + frameOverhead + payload
    if (payload < headerFieldsBytes + 2 || payload > payloadMax || body > limit) return -1
    // Class 60, weight 0, and a size that fits 32 bits.
    if (
      chunk[body - 1] !== frameEnd ||
      chunk.readUInt32BE(header + frameHead) !== 0x003c0000 ||
      chunk.readUInt32BE(header + frameHead + 4) !== 0
    )
      return -1
    const size = chunk.readUInt32BE(header + frameHead + 8)
    if (size > this.#channel.maxMessageBytes) return -1
    if (size === 0) return body
    const end = body + frameOverhead + size
    if (
      end > limit ||
      size > payloadMax ||
      chunk[body] !== Frame.body ||
      chunk[body + 1] !== high ||
      chunk[body + 2] !== low ||
      chunk.readUInt32BE(body + 3) !== size ||
      chunk[end - 1] !== frameEnd
    )
      return -1
    return end
  }

  #assembled(): void {
    this.awaiting = 'nothing'
    this.#content.take(this.#arrival.message)
    this.#complete(true)
  }

  /** The message that the arrival shows is complete: checks it and sends it on. */
  #complete(ownsBytes: boolean): void {
    const arrival = this.#arrival
    const { message } = arrival
    const last = this.#route
    const route = this.#routeOf(message, last)
    if (route !== last) {
      this.#check(route)
      this.#route = route
    }
    const properties = message.propertiesStart
    const flags = message.bytes.readUInt16BE(properties)
    const octets = message.propertiesEnd - properties
    let further: readonly string[] | null = null
    if (flags === 0 && octets === 2) {
      arrival.begin(0, -1, ownsBytes)
    } else if (flags === onlyDeliveryMode && octets === 3) {
      const mode = message.bytes[properties + 2]
      arrival.begin(mode === persistentMode ? Mark.persistent : 0, -1, ownsBytes)
    } else {
      further = this.#lookAtProperties(ownsBytes, route.exchange)
    }
    if (this.#channel.transaction === null && this.#vhost.firehose === null)
      this.conclude(this.#vhost.publish(route, arrival, further), this.#mandatory)
    else this.#publishRouted(route, further)
  }

  /** Publishes the message of the arrival once it is known where it goes: in a transaction, or traced. */
  #publishRouted(route: Route, further: readonly string[] | null): void {
    const arrival = this.#arrival
    const { firehose, router } = this.#vhost
    const { transaction } = this.#channel
    const queues = router.queuesOf(route, arrival.message, further)
    firehose?.published(arrival.message, further ?? [], queues, this.#channel)
    if (transaction !== null) transaction.publish(route, queues, this.#mandatory, further)
    else this.conclude(this.#vhost.publishRouted(route, queues, arrival, further), this.#mandatory)
  }

  /** Returns or confirms the message of the arrival, which is published. False: it was refused. */
  conclude(outcome: number, mandatory: boolean): boolean {
    const { writer, number, frameMax, confirms } = this.#channel
    if (outcome === Outcome.unroutable && mandatory)
      writeReturn(writer, number, frameMax, noRoute, this.#arrival.message)
    const refused = (outcome & Outcome.refused) !== 0
    if (confirms !== null) confirms.add(refused, this.#arrival.loggedAs)
    return !refused
  }

  /** The route of a message. Who may not write to an exchange is not told that there is none. */
  #routeOf(message: Message, last: Route | null): Route {
    try {
      return this.#vhost.router.route(message, last)
    } catch (error) {
      if (error instanceof AmqpError && error.reply === 'NOT_FOUND')
        this.#channel.rights.check('write', 'exchange', message.exchange)
      throw error
    }
  }

  /**
   * Checks whether the user may publish by a route. It need not be asked again as long as the
   * route is the same, and about its exchange not before the next generation of routes: permissions
   * that change make all routes stale.
   */
  #check({ exchange, key, generation }: Route): void {
    const { rights } = this.#channel
    if (exchange !== this.#writable || generation !== this.#generation) {
      rights.check('write', 'exchange', exchange.name)
      if (exchange.internal)
        throw new AmqpError(
          'ACCESS_REFUSED',
          `cannot publish to internal ${exchangeIn(this.#vhost.name, exchange.name)}`,
        )
      this.#writable = exchange
      this.#generation = generation
    }
    if (exchange.type === 'topic') rights.checkTopic('write', exchange, key)
  }

  /** Checks the properties, begins the arrival, and returns further routing keys (CC, BCC). */
  #lookAtProperties(ownsBytes: boolean, exchange: Exchange): readonly string[] | null {
    const arrival = this.#arrival
    const { bytes, propertiesStart: start, propertiesEnd: end } = arrival.message
    checkProperties(bytes, start, end)
    // From here on `bytes` is the message as it was published: of several mistakes the first in RabbitMQ's order counts.
    const own = this.#replaceReplyTo(arrival.message) || ownsBytes
    const expiration = expirationAt(bytes, start)
    const expirationMs = expiration < 0 ? -1 : expirationMsOf(textAt(bytes, expiration))
    const given = priorityOf(bytes, start)
    const priority = given < 0 ? 0 : given | Mark.prioritised
    const persistent = deliveryModeOf(bytes, start) === persistentMode ? Mark.persistent : 0
    const headers = headersAt(bytes, start)
    let further: readonly string[] | null = null
    if (
      headers >= 0 &&
      mayHaveSenderSelected(bytes, headers + 4, headers + 4 + bytes.readUInt32BE(headers))
    ) {
      const keys = senderSelectedKeys(decodeProperties(bytes, start, end).headers ?? [])
      if (keys.length > 0) further = keys
      for (const key of keys) this.#channel.rights.checkTopic('write', exchange, key)
    }
    const userId = userIdAt(bytes, start)
    if (userId >= 0) {
      const claimed = textAt(bytes, userId)
      if (claimed !== this.#channel.user && !this.#channel.connection.impersonates)
        throw new AmqpError(
          'PRECONDITION_FAILED',
          `user_id property set to '${claimed}' but authenticated user was '${this.#channel.user}'`,
        )
    }
    arrival.begin(priority | persistent, expirationMs, own)
    if (further !== null) arrival.hideBcc()
    return further
  }

  /** A request carries the name made for its channel in place of the pseudo-queue. */
  #replaceReplyTo(message: Message): boolean {
    const { bytes, propertiesStart: start } = message
    const at = replyToAt(bytes, start)
    if (at < 0 || textAt(bytes, at) !== replyQueue) return false
    const address = this.#channel.replyConsumer?.address
    if (address === undefined)
      throw new AmqpError('PRECONDITION_FAILED', 'fast reply consumer does not exist')
    const octets = Buffer.from(bytes.subarray(start, message.propertiesEnd))
    rebuild(message, withReplyTo(octets, address))
    return true
  }
}

/** Where the bits of basic.publish stand, behind the address; -1 if the payload does not end there. */
function bitsAt(bytes: Buffer, address: number, end: number): number {
  if (address >= end) return -1
  const routingKey = address + 1 + (bytes[address] as number)
  if (routingKey >= end) return -1
  const bits = routingKey + 1 + (bytes[routingKey] as number)
  return bits === end - 1 ? bits : -1
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString('utf8', at + 1, at + 1 + bytes.readUInt8(at))
}
