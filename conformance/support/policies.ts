/** Brokers whose policies a test sets. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { startBroker } from '../../src/index.js'
import type { Broker } from './broker.js'

const run = promisify(execFile)

export interface More {
  readonly applyTo?: string
  readonly priority?: number
  readonly operator?: boolean
}

/** Who sets and removes policies of `/`. */
export interface Administrator {
  readonly broker: Broker
  set(name: string, pattern: string, definition: object, more?: More): Promise<void>
  remove(name: string, more?: More): Promise<void>
}

/**
 * Of ours over the management API, of a RabbitMQ at BROKER_URL by the rabbitmqctl that RABBITMQCTL
 * names; null without one.
 */
export async function openAdministrator(t: Test): Promise<Administrator | null> {
  const { BROKER_URL: named, RABBITMQCTL: command } = process.env
  if (named !== undefined && named !== '') {
    if (command === undefined || command === '') return null
    const { hostname, port } = new URL(named)
    const kind = (more: More) => (more.operator === true ? 'operator_policy' : 'policy')
    return {
      broker: { url: named, host: hostname, port: Number(port || 5672), real: true },
      async set(name, pattern, definition, more = {}) {
        const { applyTo = 'all', priority = 0 } = more
        const options = ['--apply-to', applyTo, '--priority', `${priority}`]
        const asked = [name, pattern, JSON.stringify(definition)]
        await run(command, [`set_${kind(more)}`, ...options, ...asked])
      },
      async remove(name, more = {}) {
        await run(command, [`clear_${kind(more)}`, name])
      },
    }
  }
  const ours = await startBroker({ managementPort: 0 })
  t.teardown(() => ours.close())
  const ask = async (method: string, name: string, more: More, body?: object): Promise<void> => {
    const path = more.operator === true ? 'operator-policies' : 'policies'
    const answer = await fetch(`${ours.managementUrl}/api/${path}/%2F/${name}`, {
      method,
      headers: { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
  }
  return {
    broker: { url: ours.url, host: ours.host, port: ours.port, real: false },
    set: (name, pattern, definition, more = {}) => {
      const { applyTo = 'all', priority = 0 } = more
      return ask('PUT', name, more, { pattern, definition, priority, 'apply-to': applyTo })
    },
    remove: (name, more = {}) => ask('DELETE', name, more),
  }
}
