/** exchange.*: declare, delete, bind and unbind. */
import type { Handlers } from './handlers.js'

export const exchangeHandlers: Handlers = {
  'exchange.declare': (channel, args) => {
    if (args.passive) channel.vhost.exchange(args.exchange)
    else
      channel.vhost.declareExchange({
        name: args.exchange,
        type: args.type,
        durable: args.durable,
        autoDelete: args.autoDelete,
        internal: args.internal,
        arguments: args.arguments,
      })
    if (!args.nowait) channel.send('exchange.declare-ok', {})
  },

  'exchange.delete': (channel, { exchange, ifUnused, nowait }) => {
    channel.vhost.deleteExchange(exchange, ifUnused)
    if (!nowait) channel.send('exchange.delete-ok', {})
  },

  'exchange.bind': (channel, args) => {
    channel.vhost.bind(
      args.source,
      { kind: 'exchange', name: args.destination },
      args.routingKey,
      args.arguments,
      channel.connection,
    )
    if (!args.nowait) channel.send('exchange.bind-ok', {})
  },

  'exchange.unbind': (channel, args) => {
    channel.vhost.unbind(
      args.source,
      { kind: 'exchange', name: args.destination },
      args.routingKey,
      args.arguments,
      channel.connection,
    )
    if (!args.nowait) channel.send('exchange.unbind-ok', {})
  },
}
