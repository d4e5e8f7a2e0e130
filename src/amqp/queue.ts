/** queue.*: declare, bind, unbind, purge and delete. */

import { replyQueue } from '../broker/names.js'
import type { Queue } from '../broker/queues/queue.js'
import { replyPrefix } from '../broker/router.js'
import type { Arguments } from '../wire/methods.js'
import type { Channel } from './channel.js'
import type { Handlers } from './handlers.js'

export const queueHandlers: Handlers = {
  'queue.declare': (channel, args) => {
    const { replies } = channel.vhost
    if (args.queue === replyQueue || replies.has(args.queue)) {
      const { queue } = args
      if (!args.nowait)
        channel.answer(0, 'queue.declare-ok', { queue, messageCount: 0, consumerCount: 1 })
      return
    }
    const queue = declared(channel, args)
    channel.lastQueue = queue.name
    if (args.nowait) return
    channel.answer(queue.definedAt, 'queue.declare-ok', {
      queue: queue.name,
      messageCount: queue.readyCount,
      consumerCount: queue.consumers.count,
    })
  },

  'queue.bind': (channel, args) => {
    const { name, key } = bound(channel, args)
    const definedAt = channel.vhost.bindings.bind(
      args.exchange,
      { kind: 'queue', name },
      key,
      args.arguments,
      channel.connection,
      channel.rights,
    )
    if (!args.nowait) channel.answer(definedAt, 'queue.bind-ok', {})
  },

  'queue.unbind': (channel, args) => {
    const { name, key } = bound(channel, args)
    const goneAt = channel.vhost.bindings.unbind(
      args.exchange,
      { kind: 'queue', name },
      key,
      args.arguments,
      channel.connection,
      channel.rights,
    )
    channel.answer(goneAt, 'queue.unbind-ok', {})
  },

  'queue.purge': (channel, { queue, nowait }) => {
    const messageCount = channel.queue(queue).purge()
    if (!nowait) channel.send('queue.purge-ok', { messageCount })
  },

  'queue.delete': (channel, { queue, ifUnused, ifEmpty, nowait }) => {
    const name = channel.queueName(queue)
    const { vhost, connection, rights } = channel
    // The answer goes out before the cancellations of this channel's own consumers.
    const deleted = (messageCount: number, goneAt: number) => {
      if (!nowait) channel.answer(goneAt, 'queue.delete-ok', { messageCount })
    }
    vhost.deleteQueue(name, connection, { ifUnused, ifEmpty }, deleted, rights)
  },
}

function declared(channel: Channel, args: Arguments<'queue.declare'>): Queue {
  const { vhost, connection, rights } = channel
  // The names of requesters are nobody's to declare: one that is gone is missing.
  if (args.passive || args.queue.startsWith(replyPrefix)) {
    const queue = vhost.queue(args.queue, connection)
    queue.declaredAgain()
    return queue
  }
  const request = {
    name: args.queue,
    durable: args.durable,
    exclusive: args.exclusive,
    autoDelete: args.autoDelete,
    arguments: args.arguments,
    owner: connection,
  }
  return vhost.declareQueue(request, rights)
}

/** With neither queue nor routing key, the name of the last declared queue stands for both. */
function bound(
  channel: Channel,
  { queue, routingKey }: { readonly queue: string; readonly routingKey: string },
): { name: string; key: string } {
  const name = channel.queueName(queue)
  return { name, key: queue === '' && routingKey === '' ? name : routingKey }
}
