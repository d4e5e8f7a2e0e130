import { setTimeout as pause } from 'node:timers/promises'
import { RawClient } from './raw-client.js'

/** A well-behaved connection that publishes, consumes and confirms without a break, whatever happens beside it. */
export class Neighbour {
  /** Round trips made so far. */
  roundTrips = 0
  /** The longest of them, in milliseconds. */
  slowest = 0
  /** What was wrong, if anything was. */
  disturbance: string | undefined
  readonly #client: RawClient
  readonly #queue: string
  #running = true
  readonly #done: Promise<void>

  private constructor(client: RawClient, queue: string) {
    this.#client = client
    this.#queue = queue
    this.#done = this.#run()
  }

  static async settle(target: { host: string; port: number }): Promise<Neighbour> {
    const client = await RawClient.open(target)
    await client.channel(1)
    const { queue } = await client.call(1, 'queue.declare', { exclusive: true })
    await client.call(1, 'basic.consume', { queue, consumerTag: 'neighbour' })
    await client.call(1, 'confirm.select')
    return new Neighbour(client, queue)
  }

  async #run(): Promise<void> {
    try {
      while (this.#running) {
        await this.#roundTrip()
        await pause(2)
      }
    } catch (error) {
      this.disturbance = (error as Error).message
    }
  }

  /** One message there and back: confirmed once, delivered once, the right one, in its turn. */
  async #roundTrip(): Promise<void> {
    const at = performance.now()
    const number = this.roundTrips + 1
    this.#client.publish(1, { key: this.#queue, body: `${number}` })
    const open = new Set(['basic.ack', 'basic.deliver'])
    let isBody = false
    while (open.size > 0 || isBody) {
      const f = await this.#client.next()
      if (f?.type === 3 && `${f.payload}` !== `${number}`)
        throw new Error(`message ${number} expected, got ${f.payload}`)
      if (f?.type === 3) isBody = false
      if (f?.type === 2 || f?.type === 3) continue
      if (f?.name === undefined || !open.delete(f.name))
        throw new Error(`${[...open].join(' or ')} expected, got ${f?.name ?? 'the end'}`)
      if (BigInt(number) !== f.fields?.['deliveryTag' as string])
        throw new Error(
          `${f.name} of ${number} expected, got ${f.fields?.['deliveryTag' as string]}`,
        )
      if (f.name === 'basic.deliver') isBody = true
    }
    this.#client.send(1, 'basic.ack', { deliveryTag: number })
    this.roundTrips = number
    this.slowest = Math.max(this.slowest, performance.now() - at)
  }

  /** Waits until it has gone round `count` more times; throws if it is disturbed or stuck. */
  async proves(count = 3, ms = 10_000): Promise<void> {
    const wanted = this.roundTrips + count
    const deadline = performance.now() + ms
    while (this.roundTrips < wanted) {
      if (this.disturbance !== undefined) throw new Error(`disturbed: ${this.disturbance}`)
      if (performance.now() > deadline) throw new Error(`nothing got through for ${ms} ms`)
      await pause(2)
    }
  }

  async leave(): Promise<void> {
    this.#running = false
    await this.#done
    await this.#client.close()
  }
}
