/** A broker on a simulated disk that is started again and again. */
import { BrokerLife, type Declare, type Delivery } from './broker-life.js'
import { SimulatedDisk } from './simulated-disk.js'

export const calm = { fail: 0, short: 0, names: 0 }
/** Nothing is written, and no file begun. */
export const broken = { fail: 1, short: 0, names: 1 }

export const plain: Declare = life => {
  life.declareQueue('q')
}

export const withGraves: Declare = life => {
  life.declareQueue('q', {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'graves',
  })
  life.declareQueue('graves')
}

/** One disk, and the brokers that run on it one after the other. */
export class Bench {
  readonly disk: SimulatedDisk
  life!: BrokerLife
  #declare: Declare
  #wallMs: number | undefined

  constructor(declare: Declare = plain, seed = 1) {
    this.disk = new SimulatedDisk(seed)
    this.#declare = declare
  }

  async start(declare = this.#declare): Promise<BrokerLife> {
    this.#declare = declare
    this.life = new BrokerLife(this.disk.session(), declare, this.#wallMs)
    await this.life.open()
    return this.life
  }

  /** `downMs`: how long it takes until the machine is up again. */
  async restart(how: 'clean' | 'crash' | 'kill', downMs = 0): Promise<BrokerLife> {
    if (how === 'clean') await this.life.close()
    if (how === 'crash') this.disk.crash()
    else this.disk.kill()
    this.#wallMs = this.life.clock.wallMs() + downMs
    return this.start()
  }

  /** Publishes bodies, and waits until all of them are confirmed. */
  async confirmed(key: string, bodies: readonly string[], exchange = ''): Promise<void> {
    const channel = this.life.confirming()
    for (const body of bodies) channel.publish({ exchange, key, body: Buffer.from(body) })
    await this.life.flushed()
    channel.listen()
    if (channel.acked.size !== bodies.length) throw new Error('not all of them are confirmed')
  }

  /** Bytes of all segments of messages. */
  get bytes(): number {
    return this.#segments.reduce((sum, path) => sum + this.disk.bytes(path).length, 0)
  }

  holds(text: string): boolean {
    return this.#segments.some(path => this.disk.bytes(path).includes(text))
  }

  get #segments(): string[] {
    return this.disk.paths().filter(path => path.startsWith('data/messages/'))
  }
}

export const bodiesOf = (deliveries: readonly Delivery[]) => deliveries.map(({ body }) => `${body}`)
