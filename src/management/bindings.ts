/** Bindings over HTTP, also those of every queue to the default exchange, which nobody made. */
import type { Binding } from '../broker/binding.js'
import type { Destination } from '../broker/bindings.js'
import type { Broker } from '../broker/broker.js'
import { Exchange } from '../broker/exchanges/exchange.js'
import type { Owner, Queue } from '../broker/queues/queue.js'
import type { Vhost } from '../broker/vhost.js'
import type { FieldTable } from '../wire/field-table.js'
import { bindingKey, names } from './binding-key.js'
import { tableJson, tableOf } from './json.js'
import { type Item, listed, projected } from './listing.js'
import { notFound } from './refusal.js'
import { type Call, created, noContent, type Route, table, text } from './route.js'
import { vhostForChange, vhostOf } from './vhosts.js'

/** The name of an exchange that stands in a path. */
export const exchangeName = (segment: string) => (segment === 'amq.default' ? '' : segment)

/** Exclusive queues belong to connections; who asks over HTTP has none. */
export const nobody: Owner = { owns: () => {}, disowns: () => {} }

/** The bindings of vhosts: by source, destination and key. */
export function bindingItems(vhosts: readonly Vhost[]): Item[] {
  return vhosts.flatMap(vhost => {
    const items: Item[] = []
    const queues = [...vhost.queues.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const queue of queues) items.push(defaultBinding(vhost, queue))
    const exchanges = [...vhost.exchanges.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const exchange of exchanges)
      for (const binding of exchange.allBindings()) items.push(bindingItem(vhost, binding))
    return items
  })
}

function bindingItem(vhost: Vhost, { source, destination, key, arguments: table }: Binding): Item {
  return {
    source: source.name,
    vhost: vhost.name,
    destination: destination.name,
    destination_type: destination instanceof Exchange ? 'exchange' : 'queue',
    routing_key: key,
    arguments: tableJson(table),
    properties_key: bindingKey(key, table),
  }
}

function defaultBinding(vhost: Vhost, { name }: Queue): Item {
  return {
    source: '',
    vhost: vhost.name,
    destination: name,
    destination_type: 'queue',
    routing_key: name,
    arguments: {},
    properties_key: bindingKey(name, []),
  }
}

/** The bindings of a queue, the one to the default exchange first. */
export function bindingsOf(vhost: Vhost, queue: Queue): Item[] {
  const items = [defaultBinding(vhost, queue)]
  for (const exchange of vhost.exchanges.values())
    for (const binding of exchange.bindings.get(queue)?.values() ?? [])
      items.push(bindingItem(vhost, binding))
  return items
}

interface Ends {
  readonly vhost: Vhost
  readonly source: string
  readonly destination: Destination
  readonly items: readonly Item[]
  readonly found: readonly { readonly key: string; readonly table: FieldTable }[]
}

export function bindingRoutes(broker: Broker): readonly Route[] {
  const between = ['q', 'e'].flatMap((letter): Route[] => {
    const kind = letter === 'q' ? 'queue' : 'exchange'
    const path = `/bindings/:vhost/e/:source/${letter}/:destination`
    return [
      {
        method: 'GET',
        path,
        allowed: 'management',
        does: `Lists the bindings between an exchange and a ${kind === 'queue' ? 'queue' : 'second one'}.`,
        handle: call => listed(endsOf(vhostOf(broker, call), kind, call).items, call.query),
      },
      {
        method: 'POST',
        path,
        allowed: 'management',
        does: 'Makes a binding; the one that is there already is as good.',
        handle: call => {
          const vhost = vhostForChange(broker, call)
          const { source = '', destination = '' } = call.params
          const key = text(call, 'routing_key', '')
          const given = tableOf(table(call, 'arguments'))
          const rights = broker.access.rights(call.visitor.name, vhost.name)
          const to = { kind, name: destination } as const
          const from = exchangeName(source)
          vhost.bindings.bind(from, to, key, given, nobody, rights)
          const segments = [destination, bindingKey(key, given)].map(encodeURIComponent)
          return created(segments.join('/'))
        },
      },
      {
        method: 'GET',
        path: `${path}/:key`,
        allowed: 'management',
        does: 'Shows a binding.',
        handle: call => {
          const ends = endsOf(vhostOf(broker, call), kind, call)
          return projected(ends.items[placeOf(ends, call)] as Item, call.query)
        },
      },
      {
        method: 'DELETE',
        path: `${path}/:key`,
        allowed: 'management',
        does: 'Takes a binding away.',
        handle: call => {
          const vhost = vhostOf(broker, call)
          const ends = endsOf(vhost, kind, call)
          const binding = ends.found[placeOf(ends, call)]
          if (binding === undefined) throw notFound()
          const { key, table } = binding
          const rights = broker.access.rights(call.visitor.name, vhost.name)
          const { source, destination } = ends
          vhost.bindings.unbind(source, destination, key, table, nobody, rights)
          return noContent
        },
      },
    ]
  })
  return [
    {
      method: 'GET',
      path: '/bindings',
      allowed: 'management',
      does: 'Lists the bindings of all vhosts that the user sees.',
      handle: ({ visitor, query }) => listed(bindingItems(visitor.vhosts()), query),
    },
    {
      method: 'GET',
      path: '/bindings/:vhost',
      allowed: 'management',
      does: 'Lists the bindings of a vhost.',
      handle: call => listed(bindingItems([vhostOf(broker, call)]), call.query),
    },
    ...between,
  ]
}

/** Which of the bindings a path names. */
function placeOf({ found }: Ends, { params }: Call): number {
  const place = found.findIndex(({ key, table }) => names(params.key ?? '', key, table))
  if (place < 0) throw notFound()
  return place
}

/** Everything between the two ends that a path names; refuses (404) if one of them is not there. */
function endsOf(vhost: Vhost, kind: 'queue' | 'exchange', { params }: Call): Ends {
  const source = exchangeName(params.source ?? '')
  const name = params.destination ?? ''
  const from = vhost.exchanges.get(source)
  const to = kind === 'queue' ? vhost.queues.get(name) : vhost.exchanges.get(exchangeName(name))
  if (from === undefined || to === undefined) throw notFound()
  const destination = { kind, name: to.name } as const
  const bindings = [...(from.bindings.get(to)?.values() ?? [])]
  const items = bindings.map(binding => bindingItem(vhost, binding))
  const found = bindings.map(binding => ({ key: binding.key, table: binding.arguments }))
  if (source === '' && !(to instanceof Exchange)) {
    items.push(defaultBinding(vhost, to))
    found.push({ key: to.name, table: [] })
  }
  return { vhost, source, destination, items, found }
}
