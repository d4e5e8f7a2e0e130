/** Brokers with users, vhosts and permissions of a test's own. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { startBroker } from '../../src/index.js'
import type { Broker } from './broker.js'

/** What a test defines, in the form of RabbitMQ's exports. */
export interface TestDefinitions {
  readonly users: readonly { readonly name: string }[]
  readonly vhosts: readonly { readonly name: string }[]
  readonly [section: string]: readonly object[]
}

const run = promisify(execFile)

/**
 * A broker with these definitions: one in this process, or the one at BROKER_URL, into which the
 * rabbitmqctl that RABBITMQCTL names imports them. Null if there is no such command.
 */
export async function openBrokerWith(
  t: Test,
  definitions: TestDefinitions,
): Promise<Broker | null> {
  const { BROKER_URL: named, RABBITMQCTL: command } = process.env
  if (named === undefined || named === '') {
    const broker = await startBroker({ definitions })
    t.teardown(() => broker.close())
    return { url: broker.url, host: broker.host, port: broker.port, real: false }
  }
  if (command === undefined || command === '') return null
  const folder = await mkdtemp(join(tmpdir(), 'leveret-definitions-'))
  const file = join(folder, 'definitions.json')
  await writeFile(file, JSON.stringify(definitions))
  await run(command, ['import_definitions', file])
  t.teardown(async () => {
    await rm(folder, { recursive: true, force: true })
    for (const { name } of definitions.users) await run(command, ['delete_user', name])
    for (const { name } of definitions.vhosts) await run(command, ['delete_vhost', name])
  })
  const { hostname, port } = new URL(named)
  return { url: named, host: hostname, port: Number(port || 5672), real: true }
}
