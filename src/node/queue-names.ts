/** The names of durable queues, which the log of messages knows only by numbers. */
import { type Command, decodeCommand } from '../broker/command.js'
import { shown } from '../platform/log.js'

export interface QueueName {
  readonly vhost: string
  readonly name: string
}

export class QueueNames {
  readonly #names = new Map<number, QueueName>()

  /** Reads a command of the definitions, and remembers what it says of queues. */
  learn(bytes: Buffer, start: number, end: number): Command {
    const command = decodeCommand(bytes, start, end)
    if (command.command === 'snapshot.begun') this.#names.clear()
    else if (command.command === 'queue.declared') {
      const { vhost, name, number } = command
      this.#names.set(number, { vhost, name })
    } else if (command.command === 'queue.deleted') this.#names.delete(command.number)
    return command
  }

  /** The name of a queue for people; undefined: there is no such queue any more. */
  text(number: number): string | undefined {
    const known = this.#names.get(number)
    return known && `'${shown(known.name)}' in vhost '${shown(known.vhost)}'`
  }

  /** Undefined: there is no such queue any more. */
  get(number: number): QueueName | undefined {
    return this.#names.get(number)
  }
}
