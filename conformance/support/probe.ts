import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { exceptions } from '../probe-exceptions.js'
import type { Broker } from './broker.js'
import { type LoginOptions, RawClient } from './raw-client.js'
import type { Values } from './raw-codec.js'

/** What one case of the probe works with. */
export interface Case {
  readonly t: Test
  readonly broker: Broker
  /** True on a broker reached by BROKER_URL. */
  readonly real: boolean
  /** A socket on which nothing has been sent; closed with the case. */
  connect(): Promise<RawClient>
  /** A connection that is open. */
  open(options?: LoginOptions): Promise<RawClient>
  /** A connection that is open, with channel 1. */
  channel(options?: LoginOptions): Promise<RawClient>
  /** A name for a queue or an exchange that nobody else uses; whatever has it is deleted afterwards. */
  name(what?: string): string
  /** An exclusive queue declared on channel 1. */
  queue(client: RawClient, values?: Values<'queue.declare'>): Promise<string>
  /** The answer of the table of exceptions for this case. */
  decided(): string | RegExp
  /** Asserts what the broker answers next. */
  outcome(client: RawClient, expected: string | RegExp, ms?: number): Promise<void>
}

export interface Prober {
  /** One case with a connection of its own. */
  (title: string, run: (c: Case) => Promise<void>): void
  /** A case that mostly waits: runs beside the others of its kind. */
  slow(title: string, run: (c: Case) => Promise<void>): void
}

/** Gives `probe(title, run)`; every title begins with the section of the catalogue it is taken from. */
export function prober(root: Test, broker: Broker): Prober {
  const prefix = `probe.${randomBytes(5).toString('hex')}`
  const names: string[] = []
  const waiting: (() => void)[] = []

  const probe = (title: string, run: (c: Case) => Promise<void>, buffered = false): void => {
    const started = async (t: Test) => {
      const clients: RawClient[] = []
      const c: Case = {
        t,
        broker,
        real: broker.real,
        async connect() {
          const client = await RawClient.connect(broker)
          clients.push(client)
          return client
        },
        async open(options = {}) {
          const client = await c.connect()
          await client.login(options)
          return client
        },
        async channel(options = {}) {
          const client = await c.open(options)
          await client.channel(1)
          return client
        },
        name(what = 'q') {
          const name = `${prefix}.${names.length}.${what}`
          names.push(name)
          return name
        },
        async queue(client, values = {}) {
          const queue = c.name()
          await client.call(1, 'queue.declare', { queue, exclusive: true, ...values })
          return queue
        },
        decided() {
          const found = exceptions.find(exception => exception.title === title)
          if (found === undefined) return 'an entry in the table of exceptions'
          return broker.real ? found.rabbit310 : found.leveret
        },
        async outcome(client, expected, ms) {
          const outcome = await client.outcome(ms)
          if (typeof expected === 'string') t.equal(outcome, expected)
          else t.match(outcome, expected)
        },
      }
      try {
        await run(c)
      } finally {
        await Promise.all(clients.map(client => client.close()))
      }
    }
    void root.test(title, { buffered }, started)
  }

  root.teardown(() => cleanUp(broker, names))
  return Object.assign(probe, {
    slow: (title: string, run: (c: Case) => Promise<void>) => {
      // All together at the end of the file, or each would wait for the quick ones between them.
      if (waiting.length === 0)
        queueMicrotask(() => {
          root.jobs = 32
          for (const start of waiting) start()
        })
      waiting.push(() => probe(title, run, true))
    },
  })
}

/** Deletes every queue and exchange that has one of these names. */
async function cleanUp(broker: Broker, names: readonly string[]): Promise<void> {
  if (names.length === 0 || !broker.real) return
  const client = await RawClient.open(broker)
  await client.channel(1)
  for (const name of names) {
    client.send(1, 'queue.delete', { queue: name })
    client.send(1, 'exchange.delete', { exchange: name })
  }
  for (const _ of names) {
    await client.expect(1, 'queue.delete-ok')
    await client.expect(1, 'exchange.delete-ok')
  }
  await client.close()
}
