/** Who may log in. Passwords are kept as salted hashes and compared in constant time, for unknown users too. */
import type { Random } from '../../platform/random.js'
import type { Limits } from './limits.js'
import {
  type HashAlgorithm,
  hashPassword,
  isHashOf,
  saltSize,
  usualAlgorithm,
} from './passwords.js'

export interface User {
  readonly name: string
  /** Base64 of salt and hash; empty: nobody can log in with a password. */
  readonly passwordHash: string
  readonly algorithm: HashAlgorithm
  /** `administrator`, `monitoring`, `policymaker`, `management`, `impersonator`, and any others. */
  readonly tags: readonly string[]
  readonly limits: Limits
}

/** Why a login was refused, for the log; the client is never told. */
export type LoginRefusal = 'invalid credentials' | 'can only connect via localhost'

export class Users {
  readonly #users = new Map<string, User>()
  readonly #loopbackOnly: ReadonlySet<string>
  readonly #nobody: string
  readonly #random: Random

  /** `loopbackOnly` names those who may log in only from this machine. */
  constructor(loopbackOnly: readonly string[], random: Random) {
    this.#loopbackOnly = new Set(loopbackOnly)
    this.#random = random
    this.#nobody = this.hashOf(random.bytes(16).toString('hex'))
  }

  get all(): ReadonlyMap<string, User> {
    return this.#users
  }

  get(name: string): User | undefined {
    return this.#users.get(name)
  }

  /** Sets a user up, or anew. */
  set(user: User): void {
    this.#users.set(user.name, user)
  }

  delete(name: string): void {
    this.#users.delete(name)
  }

  clear(): void {
    this.#users.clear()
  }

  /** The hash of a new password, by the usual algorithm. */
  hashOf(password: string): string {
    return hashPassword(password, this.#random.bytes(saltSize))
  }

  /** Checks a login; null if it is good. A blank password never is. */
  refusal(name: string, password: string, fromLoopback: boolean): LoginRefusal | null {
    const user = this.#users.get(name)
    const kept = user !== undefined && user.passwordHash !== ''
    const good = kept
      ? isHashOf(user.passwordHash, user.algorithm, password)
      : isHashOf(this.#nobody, usualAlgorithm, password)
    if (!good || !kept || password === '') return 'invalid credentials'
    if (!this.mayComeFrom(name, fromLoopback)) return 'can only connect via localhost'
    return null
  }

  /** Checks the login of somebody who has proved by other means to have this name; null if it is good. */
  refusalOfProven(name: string, fromLoopback: boolean): LoginRefusal | null {
    if (!this.#users.has(name)) return 'invalid credentials'
    return this.mayComeFrom(name, fromLoopback) ? null : 'can only connect via localhost'
  }

  /** Whether a user may log in from where it is. */
  mayComeFrom(name: string, fromLoopback: boolean): boolean {
    return fromLoopback || !this.#loopbackOnly.has(name)
  }
}
