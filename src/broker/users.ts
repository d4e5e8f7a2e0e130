/** Who may log in. Passwords are kept as salted hashes and compared in constant time, for unknown users too. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Random } from '../platform/random.js'

/** A user as it is set up. */
export interface UserSettings {
  readonly name: string
  readonly password: string
}

interface User {
  readonly salt: Buffer
  readonly hash: Buffer
}

/** Why a login was refused, for the log; the client is never told. */
export type LoginRefusal = 'invalid credentials' | 'can only connect via localhost'

export class Users {
  readonly #users = new Map<string, User>()
  readonly #loopbackOnly: ReadonlySet<string>
  readonly #nobody: User

  /** `loopbackOnly` names those who may log in only from this machine. */
  constructor(users: readonly UserSettings[], loopbackOnly: readonly string[], random: Random) {
    this.#loopbackOnly = new Set(loopbackOnly)
    this.#nobody = hashed(random.bytes(16).toString('hex'), random)
    for (const { name, password } of users) this.#users.set(name, hashed(password, random))
  }

  /** Checks a login; null if it is good. A blank password never is. */
  refusal(name: string, password: string, fromLoopback: boolean): LoginRefusal | null {
    const user = this.#users.get(name) ?? this.#nobody
    const good = timingSafeEqual(hash(user.salt, password), user.hash)
    if (!good || password === '') return 'invalid credentials'
    if (!fromLoopback && this.#loopbackOnly.has(name)) return 'can only connect via localhost'
    return null
  }
}

function hashed(password: string, random: Random): User {
  const salt = random.bytes(4)
  return { salt, hash: hash(salt, password) }
}

function hash(salt: Buffer, password: string): Buffer {
  return createHash('sha256').update(salt).update(password).digest()
}
