import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import type { Test } from 'tap'
import type { Broker } from './broker.js'

/** A name nobody else has; the queue of that name is deleted when the test ends. */
export function temporaryQueue(t: Test, broker: Broker, label: string): string {
  const name = uniqueName(label)
  t.teardown(async () => {
    const connection = await connect(broker.url)
    const channel = await connection.createChannel()
    await channel.deleteQueue(name)
    await connection.close()
  })
  return name
}

/** A name nobody else has, for things that are never declared or go by themselves. */
export function uniqueName(label: string): string {
  return `leveret.${label}.${randomUUID()}`
}
