/** What there is, as the commands that define it. Exclusive and transient objects have none. */
import { fieldTable } from '../wire/field-table.js'
import type { Binding } from './binding.js'
import type { Command, CommandOf } from './command.js'
import { Exchange } from './exchanges/exchange.js'
import type { Queue } from './queues/queue.js'
import type { Topology } from './topology.js'
import type { Vhost } from './vhost.js'

type DescribedVhost = Pick<Vhost, 'name' | 'metadata' | 'limits'>

/** Commands that make a vhost with all that is durable in it. */
export function* vhostCommands(
  { name: vhost, metadata, limits }: DescribedVhost,
  topology: Topology,
): Iterable<Command> {
  yield { command: 'vhost.added', name: vhost }
  const { description, tags, defaultQueueType } = metadata
  if (description !== '' || tags.length > 0 || defaultQueueType !== '')
    yield { command: 'vhost.described', name: vhost, ...metadata }
  if (Object.keys(limits).length > 0)
    yield { command: 'vhost.limited', name: vhost, limits: fieldTable(limits) }
  for (const exchange of topology.exchanges.values())
    if (isLogged(exchange)) yield exchangeDeclared(vhost, exchange)
  for (const queue of topology.queues.values()) if (queue.durable) yield queueDeclared(vhost, queue)
  for (const exchange of topology.exchanges.values())
    for (const binding of exchange.allBindings())
      if (isDurable(binding)) yield { command: 'bound', ...bindingFields(vhost, binding) }
}

/** An exchange that every vhost has is not declared by anybody. */
export function isLogged({ name, durable }: Exchange): boolean {
  return durable && name !== '' && !name.startsWith('amq.')
}

/** A binding survives a restart if both its ends do. */
export function isDurable({ source, destination }: Binding): boolean {
  return source.durable && destination.durable
}

export function exchangeDeclared(vhost: string, exchange: Exchange): Command {
  const { name, type, autoDelete, internal, arguments: table } = exchange
  return {
    command: 'exchange.declared',
    vhost,
    name,
    type,
    autoDelete,
    internal,
    arguments: table,
    number: exchange.delayed?.number ?? 0,
  }
}

export function queueDeclared(vhost: string, queue: Queue): Command {
  const { name, number, autoDelete, arguments: table } = queue
  return { command: 'queue.declared', vhost, name, number, autoDelete, arguments: table }
}

export function bindingFields(
  vhost: string,
  binding: Binding,
): Omit<CommandOf<'bound'>, 'command'> {
  const { source, destination, key, arguments: table } = binding
  return {
    vhost,
    source: source.name,
    kind: destination instanceof Exchange ? 'exchange' : 'queue',
    destination: destination.name,
    key,
    arguments: table,
  }
}
