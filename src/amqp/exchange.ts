/** exchange.*: declare, delete, bind and unbind. */
import { refuseDefault, stripped } from '../broker/names.js'
import type { Handlers } from './handlers.js'

export const exchangeHandlers: Handlers = {
  'exchange.declare': (channel, args) => {
    const name = stripped(args.exchange)
    if (args.passive) refuseDefault(name)
    const { definedAt } = args.passive
      ? channel.vhost.exchange(name)
      : channel.vhost.declareExchange(
          {
            name: args.exchange,
            type: args.type,
            durable: args.durable,
            autoDelete: args.autoDelete,
            internal: args.internal,
            arguments: args.arguments,
          },
          channel.rights,
        )
    if (!args.nowait) channel.answer(definedAt, 'exchange.declare-ok', {})
  },

  'exchange.delete': (channel, { exchange, ifUnused, nowait }) => {
    const goneAt = channel.vhost.deleteExchange(exchange, ifUnused, channel.rights)
    if (!nowait) channel.answer(goneAt, 'exchange.delete-ok', {})
  },

  'exchange.bind': (channel, args) => {
    const definedAt = channel.vhost.bindings.bind(
      args.source,
      { kind: 'exchange', name: args.destination },
      args.routingKey,
      args.arguments,
      channel.connection,
      channel.rights,
    )
    if (!args.nowait) channel.answer(definedAt, 'exchange.bind-ok', {})
  },

  'exchange.unbind': (channel, args) => {
    const goneAt = channel.vhost.bindings.unbind(
      args.source,
      { kind: 'exchange', name: args.destination },
      args.routingKey,
      args.arguments,
      channel.connection,
      channel.rights,
    )
    if (!args.nowait) channel.answer(goneAt, 'exchange.unbind-ok', {})
  },
}
