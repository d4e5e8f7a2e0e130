/**
 * A channel: takes its frames in order, puts contents together, and gives each method to its
 * handler. The methods of publishing and settling are read here in place; all others come
 * through the method table.
 */
import type { Asker } from '../broker/access/rights.js'
import { stripped } from '../broker/names.js'
import type { Queue } from '../broker/queues/queue.js'
import { replyPrefix } from '../broker/router.js'
import type { Vhost } from '../broker/vhost.js'
import { Stage, type TurnParty } from '../platform/turn.js'
import { firstToLast } from '../structures/rotation.js'
import { decodeMethod } from '../wire/codec.js'
import { Frame, type FrameParser } from '../wire/frame-parser.js'
import type { FrameWriter } from '../wire/frame-writer.js'
import { hotIds } from '../wire/hot-methods.js'
import { type Arguments, type MethodName, maySend } from '../wire/methods.js'
import { AmqpError } from '../wire/replies.js'
import { AckTimeout } from './ack-timeout.js'
import { Answers, isDefinition } from './answers.js'
import { Confirms } from './confirms.js'
import type { Connection } from './connection.js'
import { type ChannelConsumer, Hold } from './consumer.js'
import { handlers } from './handlers.js'
import { Publisher } from './publisher.js'
import { ReplyConsumer } from './reply-to.js'
import { Returning } from './returning.js'
import { channelClosed, consumerCreated, consumerDeleted } from './session-events.js'
import { Transaction } from './transaction.js'
import { Settlement, Unacked } from './unacked.js'

/** Deliveries settled in one turn, a few milliseconds' work, when they are more than can be settled at once. */
const perTurn = 8192

/** Deliveries settled at once: many frames of a turn may each ask for so many. */
const atOnce = 1024

/** A channel that ends with more deliveries than this leaves them to the turn: a connection may have many such. */
const returnsAtOnce = 256

/** `refused`: we sent channel.close. `ending`: deliveries go back to their queues. */
type ChannelState = 'open' | 'refused' | 'ending' | 'closed'

const noAnswer = () => {}

/**
 * What may take several turns: does about as much as `most` settlements, and tells whether that was
 * all; null: it calls `goOn` when it can go on.
 */
type Work = (most: number) => boolean | null

export class Channel implements TurnParty {
  readonly connection: Connection
  readonly number: number
  readonly vhost: Vhost
  /** What its user may do in the vhost. */
  readonly rights: Asker
  readonly writer: FrameWriter
  readonly frameMax: number
  readonly maxMessageBytes: number
  readonly user: string
  readonly publisher: Publisher
  readonly unacked = new Unacked()
  readonly consumers = new Map<string, ChannelConsumer>()
  /** The consumer of direct reply-to. */
  replyConsumer: ReplyConsumer | null = null
  confirms: Confirms | null = null
  transaction: Transaction | null = null
  lastDeliveryTag = 0
  /** The queue that an empty queue name means. */
  lastQueue: string | null = null
  /** For consumers that come from now on; 0 for no limit. */
  prefetch = 0
  /** Id of the method in progress, which a close names. */
  methodId = 0

  /** Deliveries outstanding to all consumers together at most; 0 for no limit. */
  #sharedPrefetch = 0
  #toConsumers = 0
  #full = false
  #state: ChannelState = 'open'
  #ended: () => void = () => {}
  #ackTimeout: AckTimeout | null = null
  /** Its deliveries are on their way back, over several turns. */
  #returning: Returning | null = null
  #work: Work | null = null
  #worked: () => void = () => {}
  /** Answers that wait for the log, and the frame that waits for them. */
  #answers: Answers | null = null
  #held: FrameParser | null = null
  #answered: () => void = () => {}

  constructor(connection: Connection, number: number, vhost: Vhost, rights: Asker) {
    this.connection = connection
    this.number = number
    this.vhost = vhost
    this.rights = rights
    this.writer = connection.writer
    this.frameMax = connection.frameMax
    this.maxMessageBytes = connection.settings.maxMessageBytes
    this.user = connection.user
    this.publisher = new Publisher(this, vhost)
  }

  /** Takes a frame of this channel. Throws AmqpError. */
  accept(frame: FrameParser): void {
    if (this.#state !== 'open') {
      this.#acceptWhileClosing(frame)
      return
    }
    if (this.#answers !== null) {
      this.#acceptWhileAnswersWait(frame)
      return
    }
    const { awaiting } = this.publisher
    if (awaiting === 'nothing') {
      if (frame.type !== Frame.method) throw notAMethod()
      this.#acceptMethod(frame)
    } else if (awaiting === 'header') {
      if (frame.type !== Frame.header)
        throw new AmqpError(
          'UNEXPECTED_FRAME',
          'expected content header for class 60, got non content header frame instead',
        )
      this.publisher.header(frame)
      this.#mindAlarms()
    } else {
      if (frame.type !== Frame.body)
        throw new AmqpError(
          'UNEXPECTED_FRAME',
          'expected content body, got non content body frame instead',
        )
      this.publisher.body(frame)
      this.#mindAlarms()
    }
  }

  /** Writes a method to the client. */
  send<M extends MethodName>(name: M, args: Arguments<M>): void {
    this.connection.send(this.number, name, args)
  }

  /** Answers a definition method, but not before what it did is durable: that has this log number. */
  answer<M extends MethodName>(number: number, name: M, args: Arguments<M>): void {
    const { definitions, turn } = this.vhost
    if (this.#answers === null) {
      if (number <= definitions.durableUpTo) {
        this.send(name, args)
        return
      }
      this.#answers = new Answers(definitions, turn, () => this.#takeUpHeld())
    }
    this.#answers.add(number, () => this.send(name, args))
  }

  /** False once the channel ends: nothing more may be written on it. */
  get open(): boolean {
    return this.#state === 'open'
  }

  /** Settles deliveries as the client says; what is not outstanding closes the channel (406). */
  settle(tag: number | bigint, multiple: boolean, settlement: Settlement): void {
    const { unacked } = this
    const known =
      typeof tag === 'number' &&
      (multiple
        ? tag === 0 || unacked.has(tag)
        : this.transaction === null
          ? unacked.settle(tag, settlement)
          : unacked.hold(tag, settlement))
    if (!known) throw new AmqpError('PRECONDITION_FAILED', `unknown delivery tag ${tag}`)
    if (!multiple) return
    const last = tag === 0 ? this.lastDeliveryTag : tag
    if (this.transaction !== null) unacked.holdUpTo(last, settlement)
    else this.settleUpTo(last, settlement)
  }

  /** Settles all deliveries up to a tag, and answers then. */
  settleUpTo(tag: number, settlement: Settlement, answer = noAnswer): void {
    const { unacked } = this
    if (unacked.settleUpTo(tag, settlement, atOnce)) {
      answer()
      return
    }
    const returning = settlement === Settlement.requeue ? new Returning(unacked, tag) : null
    const part = (most: number) => unacked.settleUpTo(tag, settlement, most)
    this.#carryOn(returning === null ? part : most => returning.part(() => part(most)), answer)
  }

  /** Does what may take several turns, in which the connection reads nothing, and answers then. */
  carryOut(work: Work, answer = noAnswer): void {
    const done = work(atOnce)
    if (done === true) answer()
    else this.#carryOn(work, answer, done === null)
  }

  /** The work that waited for something goes on. */
  goOn(): void {
    this.vhost.turn.add(Stage.deliver, this)
  }

  /** The queue of this name, to be read; the empty name is the one last declared here. */
  queue(name: string): Queue {
    const called = this.queueName(name)
    this.rights.check('read', 'queue', stripped(called))
    return this.vhost.queue(called, this.connection)
  }

  queueName(name: string): string {
    if (name !== '') return name
    if (this.lastQueue === null) throw new AmqpError('NOT_FOUND', 'no previously declared queue')
    return this.lastQueue
  }

  addConsumer(consumer: ChannelConsumer): void {
    this.consumers.set(consumer.tag, consumer)
    consumer.queue.addConsumer(consumer)
    consumerCreated(consumer)
    this.watchAcks(consumer.timeoutMs)
    if (this.#full && consumer.shares) consumer.hold(Hold.channel)
    if (this.connection.congestedOutput) consumer.hold(Hold.congestion)
    consumer.start()
  }

  /** Somebody here takes deliveries who has so much time to settle each; below 0: all there is. */
  watchAcks(ms: number): void {
    if (ms < 0) return
    this.#ackTimeout ??= new AckTimeout(this)
    this.#ackTimeout.watch(ms)
  }

  /** The client cancels: what it has in hands stays with it. */
  removeConsumer(tag: string): void {
    if (tag === this.replyConsumer?.tag) this.#removeReplyConsumer()
    const consumer = this.consumers.get(tag)
    if (consumer === undefined) return
    this.consumers.delete(tag)
    consumerDeleted(consumer)
    consumer.queue.removeConsumer(consumer)
  }

  /** Consumes from the pseudo-queue of direct reply-to, which a channel can do once. */
  addReplyConsumer(tag: string): void {
    if (this.replyConsumer !== null)
      throw new AmqpError('PRECONDITION_FAILED', 'reply consumer already set')
    const address = this.vhost.generatedName(replyPrefix)
    this.replyConsumer = new ReplyConsumer(this, tag, address)
    this.vhost.replies.set(address, this.replyConsumer)
  }

  /** The queue is gone: the client hears of it if it knows how to. */
  consumerCancelled(consumer: ChannelConsumer): void {
    this.consumers.delete(consumer.tag)
    consumerDeleted(consumer)
    if (this.#state === 'open' && this.connection.can('consumer_cancel_notify'))
      this.answer(0, 'basic.cancel', { consumerTag: consumer.tag, nowait: true })
  }

  /** basic.qos with global: one window for all consumers of the channel, effective at once. */
  get sharedPrefetch(): number {
    return this.#sharedPrefetch
  }

  set sharedPrefetch(count: number) {
    this.#sharedPrefetch = count
    this.#look()
  }

  /** A consumer got a delivery that it must settle. */
  delivered(): void {
    this.#toConsumers++
    if (this.#sharedPrefetch > 0) this.#look()
  }

  deliverySettled(): void {
    this.#toConsumers--
    if (this.#full) this.#look()
  }

  /** The connection's output is not being read, or is again. */
  congestion(congested: boolean): void {
    if (congested) this.#hold(Hold.congestion)
    else this.#release(Hold.congestion)
  }

  selectConfirms(): void {
    if (this.transaction !== null)
      throw new AmqpError('PRECONDITION_FAILED', 'cannot switch from tx to confirm mode')
    this.confirms ??= new Confirms(this.vhost.turn, this.vhost.journal, this.writer, this.number)
  }

  selectTransaction(): Transaction {
    if (this.confirms !== null)
      throw new AmqpError('PRECONDITION_FAILED', 'cannot switch from confirm to tx mode')
    this.transaction ??= new Transaction(this)
    return this.transaction
  }

  /** We refused something: everything but the end of the channel is thrown away from now on. */
  refuse(): void {
    this.#dropAnswers()
    this.#end('refused', () => {})
  }

  /**
   * Ends the channel and calls `ended` once its deliveries are back in their queues and, if the
   * client `listens`, it has its answers.
   */
  close(ended: () => void, listens: boolean): void {
    if (!listens) this.#dropAnswers()
    this.#end('ending', () => {
      this.#answered = () => {
        this.#state = 'closed'
        ended()
      }
      if (this.#answers === null) this.#answered()
    })
  }

  endTurn(): void {
    if (this.#work !== null) this.#workOn(this.#work)
    else this.#giveBack()
  }

  #carryOn(work: Work, answer: () => void, waits = false): void {
    this.#work = work
    this.#worked = answer
    this.connection.work(true)
    if (!waits) this.goOn()
  }

  /** Does the next part of some work; what has begun is done to its end even if the channel ends. */
  #workOn(work: Work): void {
    const { open } = this
    try {
      const done = work(perTurn)
      if (done === false) this.goOn()
      if (done !== true) return
      this.#work = null
      if (open) this.#worked()
    } catch (error) {
      this.#work = null
      this.connection.workFailed(error, this)
    }
    if (!open) this.vhost.turn.add(Stage.deliver, this)
    this.connection.work(false)
  }

  /**
   * While answers wait, further definition methods join them. Anything else waits until they are
   * given, and so does a method that is refused: its refusal comes in its turn.
   */
  #acceptWhileAnswersWait(frame: FrameParser): void {
    if (isDefinition(frame))
      try {
        this.#acceptMethod(frame)
        return
      } catch {
        // Nothing was done: it is taken up again, and refused again.
      }
    this.#held = frame.copy()
    this.connection.work(true)
  }

  /** All answers are given. */
  #takeUpHeld(): void {
    this.#answers = null
    this.#answered()
    const held = this.#held
    if (held === null) return
    this.#held = null
    try {
      this.accept(held)
    } catch (error) {
      this.connection.workFailed(error, this)
    }
    this.connection.work(false)
  }

  /** The client is not to have its answers any more. */
  #dropAnswers(): void {
    this.#answers?.drop()
    this.#answers = null
    if (this.#held === null) return
    this.#held = null
    // Not at once: what ends the channel is not over.
    this.vhost.turn.add(Stage.deliver, { endTurn: () => this.connection.work(false) })
  }

  #acceptMethod(frame: FrameParser): void {
    const { bytes, start, end } = frame
    const id = end - start >= 4 ? bytes.readUInt32BE(start) : 0
    this.methodId = id
    if (id === hotIds.publish) {
      this.publisher.publish(frame, !this.connection.alarms.active)
      this.#mindAlarms()
      return
    }
    // A tag of more than 2^53 is nobody's, and goes the long way for the sake of its text.
    if (id === hotIds.ack && end - start === 13 && bytes.readUInt32BE(start + 4) < 0x200000) {
      const tag = bytes.readUInt32BE(start + 4) * 0x100000000 + bytes.readUInt32BE(start + 8)
      this.settle(tag, ((bytes[start + 12] as number) & 1) === 1, Settlement.complete)
      return
    }
    const method = decodeMethod(bytes, start, end)
    const handler = maySend('client', method.name) ? handlers[method.name] : undefined
    if (handler === undefined) throw new AmqpError('COMMAND_INVALID', 'unimplemented method')
    ;(handler as (channel: Channel, args: unknown) => void)(this, method.args)
  }

  /** During an alarm, or while the log is behind, nothing more is taken from who publishes, not even the rest of a message. */
  #mindAlarms(): void {
    if (this.connection.alarms.active || this.vhost.journal.congested)
      this.connection.blockPublisher()
  }

  /** After our close only the client's close and close-ok count. */
  #acceptWhileClosing(frame: FrameParser): void {
    if (this.#state !== 'refused' || frame.type !== Frame.method) return
    const { bytes, start, end } = frame
    if (end - start < 4) return
    const id = bytes.readUInt32BE(start)
    if (id === channelClose) this.send('channel.close-ok', {})
    else if (id === channelCloseOk) this.connection.forget(this)
  }

  #end(state: ChannelState, ended: () => void): void {
    const first = this.#state === 'open'
    this.#state = state
    this.#ended = ended
    if (!first) {
      // Its deliveries may still be on their way back.
      if (this.#work === null && this.unacked.count === 0) ended()
      return
    }
    this.publisher.close()
    this.#ackTimeout?.close()
    this.confirms?.close()
    this.#removeReplyConsumer()
    // Before another consumer of their queues has its turn.
    if (this.unacked.count > returnsAtOnce) this.#returning = new Returning(this.unacked)
    for (const tag of [...this.consumers.keys()]) this.removeConsumer(tag)
    channelClosed(this)
    // Small ones end at once: whoever comes next meets their messages in the queues.
    if (this.#work !== null) return
    if (this.unacked.count <= returnsAtOnce) this.endTurn()
    else this.vhost.turn.add(Stage.deliver, this)
  }

  /** The next of its deliveries go back to their queues. */
  #giveBack(): void {
    const part = () => this.unacked.giveBack(perTurn)
    if (this.#returning?.part(part) ?? part()) this.#ended()
    else this.vhost.turn.add(Stage.deliver, this)
  }

  #removeReplyConsumer(): void {
    if (this.replyConsumer === null) return
    this.vhost.replies.delete(this.replyConsumer.address)
    this.replyConsumer = null
  }

  #look(): void {
    const full = this.#sharedPrefetch > 0 && this.#toConsumers >= this.#sharedPrefetch
    if (full === this.#full) return
    this.#full = full
    if (full) this.#hold(Hold.channel)
    else this.#release(Hold.channel)
  }

  #hold(reason: number): void {
    for (const consumer of this.consumers.values())
      if (consumer.shares || reason !== Hold.channel) consumer.hold(reason)
  }

  /** The queue of the one released first is the first to deliver, and may take all there is: so it is another one each time. */
  #release(reason: number): void {
    firstToLast(this.consumers)
    for (const consumer of this.consumers.values()) consumer.release(reason)
  }
}

/** What is wrong with content that no publish announced. */
export function notAMethod(): AmqpError {
  return new AmqpError('UNEXPECTED_FRAME', 'expected method frame, got non method frame instead', 0)
}

const channelClose = 0x00140028
const channelCloseOk = 0x00140029
