import type { Test } from 'tap'
import { startBroker } from '../../src/index.js'

/** The broker a probe talks to. */
export interface Broker {
  readonly url: string
  readonly host: string
  readonly port: number
  /** True for the broker named by BROKER_URL, which others may be using. */
  readonly real: boolean
}

/** The broker at BROKER_URL, or a fresh one in this process that closes with the test. */
export async function openBroker(
  t: Test,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Broker> {
  const { BROKER_URL: named } = process.env
  if (named !== undefined && named !== '') {
    const { hostname, port } = new URL(named)
    return { url: named, host: hostname, port: Number(port || 5672), real: true }
  }
  const broker = await startBroker({ port: 0, settings })
  t.teardown(() => broker.close())
  return { url: broker.url, host: broker.host, port: broker.port, real: false }
}
