// Declares and deletes durable queues while the broker is loaded, and asks after a restart whether
// those that were declared are there, and those that were deleted are not.

import { sleep } from '../clock.js'
import { FrameWriter, methods } from '../frames.js'
import { type Address, Link } from '../link.js'
import type { Ledger } from './ledger.js'
import type { Party } from './publishers.js'
import type { Random } from './random.js'

/** Queues that are there at a time, about. */
const KEPT = 20
/** Deleted queues that are asked for. */
const ASKED = 5

export class Definer {
  readonly #address: Address
  readonly #ledger: Ledger
  readonly #random: Random
  /** What the broker has said is there, and what it has said is gone; neither if it said nothing. */
  readonly #there: string[] = []
  readonly #gone: string[] = []
  #count = 0

  constructor(address: Address, ledger: Ledger, random: Random) {
    this.#address = address
    this.#ledger = ledger
    this.#random = random
  }

  async check(): Promise<void> {
    for (const name of [...this.#there]) {
      if (await this.#exists(name)) continue
      this.#ledger.find('definitions', `${name} is not there`)
      this.#there.splice(this.#there.indexOf(name), 1)
    }
    for (const name of this.#gone.slice(-ASKED))
      if (await this.#exists(name)) this.#ledger.find('definitions', `${name} is there again`)
  }

  /** Declares and deletes until the connection ends. */
  async start(): Promise<Party> {
    const link = await Link.open(this.#address)
    let open = true
    const run = async () => {
      while (open) {
        await this.#step(link)
        await sleep(this.#random.between(5, 100))
      }
    }
    const ended = run().catch(() => {})
    return {
      ended,
      async close() {
        open = false
        await ended
        await link.close()
      },
    }
  }

  async #step(link: Link): Promise<void> {
    const oldest = this.#there[0]
    if (oldest !== undefined && this.#there.length > this.#random.between(0, 2 * KEPT)) {
      this.#there.shift()
      const request = new FrameWriter().method(1, methods.queueDelete).u16(0).shortString(oldest)
      await link.call(request.u8(0).end(), methods.queueDeleteOk)
      this.#gone.push(oldest)
    } else {
      const name = `defined.${this.#count++}`
      await link.call(declaration(name, false), methods.queueDeclareOk)
      this.#there.push(name)
    }
  }

  async #exists(name: string): Promise<boolean> {
    const link = await Link.open(this.#address)
    try {
      await link.call(declaration(name, true), methods.queueDeclareOk)
      return true
    } catch {
      return false
    } finally {
      link.destroy()
    }
  }
}

function declaration(name: string, passive: boolean): FrameWriter {
  const request = new FrameWriter().method(1, methods.queueDeclare).u16(0).shortString(name)
  return request
    .u8(passive ? 1 : 2)
    .table({})
    .end()
}
