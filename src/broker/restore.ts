/**
 * Commands of the log done again after a restart. What is there already, or refers to what is not,
 * is passed over: a snapshot and the commands among it may say a thing twice or too early.
 */
import { bindingIdentity } from './binding.js'
import type { Command, CommandOf } from './command.js'
import type { QueueDeclaration } from './queues/host.js'
import type { Queue } from './queues/queue.js'
import type { Topology } from './topology.js'

/** Makes a queue of the vhost that is restored. */
export type NewQueue = (declaration: QueueDeclaration) => Queue

/** Restores part of a vhost. Throws AmqpError if it cannot be as it is declared. */
export function restore(topology: Topology, command: Command, newQueue: NewQueue): void {
  switch (command.command) {
    case 'exchange.declared':
      if (!topology.exchanges.has(command.name)) topology.addExchange({ ...command, durable: true })
      break
    case 'exchange.deleted': {
      // Exchanges that become unused by it have commands of their own.
      const exchange = topology.exchanges.get(command.name)
      if (exchange !== undefined) topology.removeExchange(exchange, [])
      break
    }
    case 'queue.declared':
      restoreQueue(topology, command, newQueue)
      break
    case 'queue.deleted': {
      const queue = topology.queues.get(command.name)
      if (queue?.number === command.number) removeQueue(topology, queue)
      break
    }
    case 'bound':
      restoreBinding(topology, command)
      break
    case 'unbound': {
      const { source, destination, key, arguments: table } = command
      const binding = topology.binding(source, kindOf(command), destination, key, table)
      if (binding !== undefined) topology.removeBinding(binding, [])
    }
  }
}

function restoreQueue(
  topology: Topology,
  command: CommandOf<'queue.declared'>,
  newQueue: NewQueue,
): void {
  const { name, number, autoDelete, arguments: table } = command
  const existing = topology.queues.get(name)
  if (existing?.number === number) return
  if (existing !== undefined) removeQueue(topology, existing)
  const declaration = { name, number, durable: true, autoDelete, owner: null, arguments: table }
  topology.addQueue(newQueue(declaration))
}

function removeQueue(topology: Topology, queue: Queue): void {
  topology.removeQueue(queue, [])
  queue.end()
}

function restoreBinding(topology: Topology, command: CommandOf<'bound'>): void {
  const { source, destination: name, key, arguments: table } = command
  const kind = kindOf(command)
  const exchange = topology.exchanges.get(source)
  const destination = kind === 'queue' ? topology.queues.get(name) : topology.exchanges.get(name)
  if (exchange === undefined || destination === undefined) return
  const identity = bindingIdentity(key, table)
  if (!exchange.bindings.get(destination)?.has(identity))
    topology.addBinding(identity, exchange, destination, key, table)
}

function kindOf({ kind }: CommandOf<'bound' | 'unbound'>): 'queue' | 'exchange' {
  return kind === 'exchange' ? 'exchange' : 'queue'
}
