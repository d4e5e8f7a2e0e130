/** A vhost in a simulated world. */
import { Deadlines } from '../../src/broker/deadlines.js'
import type { Owner, Queue } from '../../src/broker/queues/queue.js'
import { ReadyPages } from '../../src/broker/queues/ready.js'
import { Vhost } from '../../src/broker/vhost.js'
import { MessageTable } from '../../src/store/message-table.js'
import { ChunkPool } from '../../src/structures/chunk-pool.js'
import { fieldTable, type PlainTable } from '../../src/wire/field-table.js'
import { SimulatedWorld } from './simulated-world.js'

/** Somebody who declares queues. */
export const owner: Owner = { owns: () => {}, disowns: () => {} }

export interface VhostBench {
  readonly world: SimulatedWorld
  readonly vhost: Vhost
  declareQueue(name: string, args?: PlainTable): Queue
  declareExchange(
    name: string,
    type: string,
    options?: { readonly autoDelete?: boolean; readonly arguments?: PlainTable },
  ): void
}

export function vhostBench(): VhostBench {
  const world = new SimulatedWorld()
  const { turn, clock, random } = world
  const vhost = new Vhost('/', {
    messages: new MessageTable(new ChunkPool()),
    pages: new ReadyPages(),
    turn,
    clock,
    random,
    deadlines: new Deadlines(clock, error => {
      throw error
    }),
  })
  return {
    world,
    vhost,
    declareQueue: (name, args = {}) =>
      vhost.declareQueue({
        name,
        durable: true,
        exclusive: false,
        autoDelete: false,
        arguments: fieldTable(args),
        owner,
      }),
    declareExchange: (name, type, options = {}) =>
      vhost.declareExchange({
        name,
        type,
        durable: true,
        internal: false,
        autoDelete: options.autoDelete ?? false,
        arguments: fieldTable(options.arguments ?? {}),
      }),
  }
}
