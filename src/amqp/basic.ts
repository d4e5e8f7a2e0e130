/** basic.*, but for publish and ack, which the channel reads in place. */
import { queueIn, replyQueue } from '../broker/names.js'
import { Got } from '../broker/queues/queue.js'
import { equivalenceClass, type FieldTable, lookup, typeNames } from '../wire/field-table.js'
import { writeGetOk } from '../wire/hot-methods.js'
import { AmqpError } from '../wire/replies.js'
import { ChannelConsumer, GetSource } from './consumer.js'
import type { Handlers } from './handlers.js'
import { Settlement } from './unacked.js'

/** What only consumers of streams may ask for. */
const streamArguments = ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered']

export const basicHandlers: Handlers = {
  'basic.qos': (channel, { prefetchSize, prefetchCount, global }) => {
    if (prefetchSize !== 0)
      throw new AmqpError('NOT_IMPLEMENTED', `prefetch_size!=0 (${prefetchSize})`)
    if (global) {
      channel.sharedPrefetch = prefetchCount
    } else {
      channel.prefetch = prefetchCount
      channel.sharedPrefetch = 0
    }
    channel.send('basic.qos-ok', {})
  },

  'basic.consume': (channel, args) => {
    const tag =
      args.consumerTag === '' ? channel.vhost.generatedName('amq.ctag-') : args.consumerTag
    if (channel.consumers.has(tag) || channel.replyConsumer?.tag === tag)
      throw new AmqpError('NOT_ALLOWED', `attempt to reuse consumer tag '${tag}'`)
    const { consumersPerChannelMax } = channel.connection.settings
    if (channel.consumers.size >= consumersPerChannelMax)
      throw new AmqpError(
        'NOT_ALLOWED',
        `reached maximum (${consumersPerChannelMax}) of consumers per channel`,
      )
    if (args.queue === replyQueue) {
      if (!args.noAck)
        throw new AmqpError('PRECONDITION_FAILED', 'reply consumer cannot acknowledge')
      channel.addReplyConsumer(tag)
      if (!args.nowait) channel.send('basic.consume-ok', { consumerTag: tag })
      return
    }
    const queue = channel.queue(args.queue)
    const name = queueIn(channel.vhost.name, queue.name)
    const { type, singleActiveConsumer } = queue.settings
    const priority = integerOf(args.arguments, 'x-priority', name) ?? 0
    const timeoutMs = integerOf(args.arguments, 'x-consumer-timeout', name) ?? -1
    if (timeoutMs < 0 && lookup(args.arguments, 'x-consumer-timeout') !== undefined)
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid arg 'x-consumer-timeout' for ${name}: {value_negative,${timeoutMs}}`,
      )
    const foreign = args.arguments.find(({ key }) => streamArguments.includes(key))
    if (foreign !== undefined)
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid arg '${foreign.key}' for ${name} of queue type rabbit_${type}_queue`,
      )
    if (type === 'quorum' && channel.sharedPrefetch > 0)
      throw new AmqpError('NOT_IMPLEMENTED', `${name} does not support global qos`)
    // Nobody has a quorum queue for itself, though it may be asked for.
    const exclusive = args.exclusive && type === 'classic'
    const { exclusive: taken, count } = queue.consumers
    if (taken || (exclusive && (count > 0 || singleActiveConsumer)))
      throw new AmqpError('ACCESS_REFUSED', `${name} in exclusive use`)
    if (!args.nowait) channel.send('basic.consume-ok', { consumerTag: tag })
    const { noAck } = args
    const request = { tag, noAck, exclusive, priority, timeoutMs, arguments: args.arguments }
    channel.addConsumer(new ChannelConsumer(channel, queue, request, channel.prefetch))
  },

  'basic.cancel': (channel, { consumerTag, nowait }) => {
    channel.removeConsumer(consumerTag)
    if (!nowait) channel.send('basic.cancel-ok', { consumerTag })
  },

  // The answer to a cancel of ours, which asked for none.
  'basic.cancel-ok': () => {},

  'basic.get': (channel, { queue: name, noAck }) => {
    const queue = channel.queue(name)
    const { type, singleActiveConsumer } = queue.settings
    if (type === 'quorum' && singleActiveConsumer)
      throw new AmqpError(
        'RESOURCE_LOCKED',
        `cannot obtain access to locked ${queueIn(channel.vhost.name, queue.name)}. basic.get operations are not supported by quorum queues with single active consumer`,
      )
    channel.carryOut(() => {
      if (!channel.open) return true
      const got = queue.get(noAck, (message, slot, redelivered, deadline, returns) => {
        const tag = ++channel.lastDeliveryTag
        if (!noAck) {
          const source = new GetSource(queue)
          channel.unacked.push(tag, slot, source, deadline, returns)
          channel.watchAcks(source.timeoutMs)
        }
        const { writer, number, frameMax, vhost } = channel
        vhost.firehose?.delivered(message, queue.name, redelivered, channel)
        writeGetOk(writer, number, frameMax, tag, redelivered, queue.readyCount, message)
      })
      if (got === Got.nothing) channel.send('basic.get-empty', {})
      if (got !== Got.later) return true
      queue.whenRead(() => channel.goOn())
      return null
    })
  },

  'basic.ack': (channel, { deliveryTag, multiple }) =>
    channel.settle(deliveryTag, multiple, Settlement.complete),

  'basic.nack': (channel, { deliveryTag, multiple, requeue }) =>
    channel.settle(deliveryTag, multiple, requeue ? Settlement.requeue : Settlement.discard),

  'basic.reject': (channel, { deliveryTag, requeue }) =>
    channel.settle(deliveryTag, false, requeue ? Settlement.fail : Settlement.discard),

  'basic.recover': (channel, { requeue }) => {
    if (!requeue) throw new AmqpError('NOT_IMPLEMENTED', 'requeue=false')
    const answer = () => channel.send('basic.recover-ok', {})
    channel.settleUpTo(channel.lastDeliveryTag, Settlement.requeue, answer)
  },

  'basic.recover-async': (channel, { requeue }) => {
    if (!requeue) throw new AmqpError('NOT_IMPLEMENTED', 'requeue=false')
    channel.settleUpTo(channel.lastDeliveryTag, Settlement.requeue)
  },
}

/** An argument that must be an integer. */
function integerOf(table: FieldTable, name: string, queue: string): number | undefined {
  const value = lookup(table, name)
  if (value === undefined) return undefined
  if (equivalenceClass(value.type) !== 'integer' || value.type === 'D')
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `invalid arg '${name}' for ${queue}: "expected integer, got ${typeNames[value.type]}"`,
    )
  return Number(value.value)
}
