/**
 * Logging in to the management API: HTTP's Basic scheme with the users of the broker. Whoever
 * guesses is slowed down: each refused login of an address makes the next answer to it later.
 */
import type { Access } from '../broker/access/access.js'
import type { Clock } from '../platform/clock.js'
import { isLoopback } from '../platform/peer.js'
import { Refusal } from './refusal.js'
import { Visitor } from './visitor.js'

/** How long an answer to a refused login waits, for each refused one before it. */
const delayMs = 100
const delayMaxMs = 5000

/** Addresses remembered; with more of them the oldest is forgotten. */
const addressesMax = 1000

/** Said without credentials, whereupon a browser asks for them. */
export const challenge = { 'www-authenticate': 'Basic realm="RabbitMQ Management"' }

/** No credentials came. */
export class LoginWanted extends Error {}

export class Login {
  readonly #access: Access
  readonly #clock: Clock
  readonly #refused = new Map<string, number>()

  constructor(access: Access, clock: Clock) {
    this.#access = access
    this.#clock = clock
  }

  /** Who asks, by the header `authorization`; throws LoginWanted or a Refusal. */
  async visitor(header: string | undefined, address: string): Promise<Visitor> {
    const encoded = /^basic +([\w+/=-]+) *$/i.exec(header ?? '')?.[1]
    if (encoded === undefined) throw new LoginWanted()
    const [, name = '', password = ''] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
    const refusal = this.#access.users.refusal(name, password, isLoopback(address))
    const user = this.#access.users.get(name)
    if (refusal === null && user !== undefined) {
      this.#refused.delete(address)
      return new Visitor(user, this.#access)
    }
    await this.#delay(address)
    const local = refusal === 'can only connect via localhost'
    throw new Refusal(
      401,
      'not_authorized',
      local ? 'User can only log in via localhost' : 'Login failed',
    )
  }

  async #delay(address: string): Promise<void> {
    const before = this.#refused.get(address) ?? 0
    this.#refused.delete(address)
    this.#refused.set(address, before + 1)
    if (this.#refused.size > addressesMax)
      for (const oldest of this.#refused.keys()) {
        this.#refused.delete(oldest)
        break
      }
    const ms = Math.min(delayMaxMs, before * delayMs)
    if (ms > 0) await new Promise<void>(resolve => this.#clock.after(ms, resolve))
  }
}
