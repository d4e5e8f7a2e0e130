/** Exchanges over HTTP. The default exchange is called `amq.default` in paths, and has no name in answers. */
import type { Broker } from '../broker/broker.js'
import type { Exchange } from '../broker/exchanges/exchange.js'
import type { Vhost } from '../broker/vhost.js'
import { bindingItems, exchangeName } from './bindings.js'
import { tableJson, tableOf } from './json.js'
import { type Item, listed, parameter, projected } from './listing.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, flag, noContent, type Route, table, text } from './route.js'
import { vhostForChange, vhostOf } from './vhosts.js'

export function exchangeItem(vhost: Vhost, exchange: Exchange): Item {
  const { name, type, durable, autoDelete, internal } = exchange
  return {
    name,
    vhost: vhost.name,
    type,
    durable,
    auto_delete: autoDelete,
    internal,
    arguments: tableJson(exchange.arguments),
    ...(exchange.delayed !== null && { messages_delayed: exchange.delayed.readyCount }),
    ...((name === '' || name.startsWith('amq.')) && { user_who_performed_action: 'rmq-internal' }),
  }
}

/** The exchanges of vhosts, in the order of their names. */
export function exchangeItems(vhosts: readonly Vhost[]): Item[] {
  return vhosts.flatMap(vhost =>
    [...vhost.exchanges.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(exchange => exchangeItem(vhost, exchange)),
  )
}

/** Delayed messages shown at once. */
const listedUnlessTold = 100
const listedMax = 500

/** A whole number of the query. */
function place({ query }: Call, key: string, absent: number): number {
  const value = parameter(query, key)
  if (value === undefined) return absent
  if (!/^\d{1,9}$/.test(value)) throw badRequest(`${key} is not a number`)
  return Number(value)
}

export function exchangeRoutes(broker: Broker): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/exchanges',
      allowed: 'management',
      does: 'Lists the exchanges of all vhosts that the user sees.',
      handle: ({ visitor, query }) => listed(exchangeItems(visitor.vhosts()), query),
    },
    {
      method: 'GET',
      path: '/exchanges/:vhost',
      allowed: 'management',
      does: 'Lists the exchanges of a vhost.',
      handle: call => listed(exchangeItems([vhostOf(broker, call)]), call.query),
    },
    {
      method: 'GET',
      path: '/exchanges/:vhost/:exchange',
      allowed: 'management',
      does: 'Shows an exchange.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const item = exchangeItem(vhost, exchangeOf(vhost, call))
        return projected({ ...item, incoming: [], outgoing: [] }, call.query)
      },
    },
    {
      method: 'PUT',
      path: '/exchanges/:vhost/:exchange',
      allowed: 'management',
      does: 'Declares an exchange, as the user would over AMQP.',
      handle: call => {
        const vhost = vhostForChange(broker, call)
        const name = exchangeName(call.params.exchange ?? '')
        const existed = vhost.exchanges.has(name)
        const request = {
          name,
          type: text(call, 'type', 'direct'),
          durable: flag(call, 'durable', true),
          autoDelete: flag(call, 'auto_delete', false),
          internal: flag(call, 'internal', false),
          arguments: tableOf(table(call, 'arguments')),
        }
        vhost.declareExchange(request, broker.access.rights(call.visitor.name, vhost.name))
        return existed ? noContent : created()
      },
    },
    {
      method: 'DELETE',
      path: '/exchanges/:vhost/:exchange',
      allowed: 'management',
      does: 'Deletes an exchange; with if-unused only one without bindings.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const { name } = exchangeOf(vhost, call)
        const rights = broker.access.rights(call.visitor.name, vhost.name)
        vhost.deleteExchange(name, call.query['if-unused'] === 'true', rights)
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/exchanges/:vhost/:exchange/delayed',
      allowed: 'management',
      does: 'Lists the messages that a delayed exchange holds back, the next ones that are due first.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const { name, delayed } = exchangeOf(vhost, call)
        if (delayed === null) throw notFound()
        broker.access.rights(call.visitor.name, vhost.name).check('read', 'exchange', name)
        const [from, count] = [place(call, 'from', 0), place(call, 'count', listedUnlessTold)]
        return delayed
          .list(from, Math.min(count, listedMax))
          .map(({ number, dueInMs, bodyBytes, persistent, routingKey }) => ({
            number,
            due_in: Math.max(0, Math.ceil(dueInMs)),
            payload_bytes: bodyBytes,
            persistent,
            routing_key: routingKey,
          }))
      },
    },
    {
      method: 'DELETE',
      path: '/exchanges/:vhost/:exchange/delayed/:number',
      allowed: 'management',
      does: 'Throws a message away that a delayed exchange holds back.',
      handle: call => {
        const vhost = vhostOf(broker, call)
        const { name, delayed } = exchangeOf(vhost, call)
        broker.access.rights(call.visitor.name, vhost.name).check('configure', 'exchange', name)
        if (!delayed?.cancel(Number(call.params.number))) throw notFound()
        return noContent
      },
    },
    {
      method: 'GET',
      path: '/exchanges/:vhost/:exchange/bindings/:end',
      allowed: 'management',
      does: 'Lists the bindings of an exchange, of which it is the source or the destination.',
      handle: call => {
        const { end } = call.params
        if (end !== 'source' && end !== 'destination') throw notFound()
        const vhost = vhostOf(broker, call)
        const { name } = exchangeOf(vhost, call)
        const mine = bindingItems([vhost]).filter(
          item => item[end] === name && (end === 'source' || item.destination_type === 'exchange'),
        )
        return listed(mine, call.query)
      },
    },
  ]
}

/** The exchange that a path names, or 404. */
export function exchangeOf(vhost: Vhost, { params }: Call): Exchange {
  const segment = params.exchange ?? ''
  if (segment === '') throw badRequest('an exchange has no name')
  const exchange = vhost.exchanges.get(exchangeName(segment))
  if (exchange === undefined) throw notFound()
  return exchange
}
