/** Who may log in. Passwords are kept as salted hashes and compared in constant time, for unknown users too. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { Random } from '../platform/random.js'

const saltBytes = 4
const sha256Bytes = 32

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
  readonly #random: Random

  /** `loopbackOnly` names those who may log in only from this machine. */
  constructor(loopbackOnly: readonly string[], random: Random) {
    this.#loopbackOnly = new Set(loopbackOnly)
    this.#random = random
    const password = random.bytes(16).toString('hex')
    this.#nobody = userOf(this.hashOf(password))
  }

  /** Names of all users, each with the hash of its password. */
  *all(): Iterable<readonly [name: string, passwordHash: string]> {
    for (const [name, { salt, hash }] of this.#users)
      yield [name, Buffer.concat([salt, hash]).toString('base64')]
  }

  /** Sets a user up, or its password anew. */
  set(name: string, passwordHash: string): void {
    this.#users.set(name, userOf(passwordHash))
  }

  clear(): void {
    this.#users.clear()
  }

  /** What RabbitMQ exports of a password: base64 of a salt and SHA-256(salt, password). */
  hashOf(password: string): string {
    const salt = this.#random.bytes(saltBytes)
    return Buffer.concat([salt, saltedHash(salt, password)]).toString('base64')
  }

  /** Checks a login; null if it is good. A blank password never is. */
  refusal(name: string, password: string, fromLoopback: boolean): LoginRefusal | null {
    const user = this.#users.get(name) ?? this.#nobody
    const good = timingSafeEqual(saltedHash(user.salt, password), user.hash)
    if (!good || password === '') return 'invalid credentials'
    if (!fromLoopback && this.#loopbackOnly.has(name)) return 'can only connect via localhost'
    return null
  }
}

function userOf(passwordHash: string): User {
  const bytes = Buffer.from(passwordHash, 'base64')
  if (bytes.length !== saltBytes + sha256Bytes)
    throw new Error('a password hash is not base64 of 4 bytes of salt and a SHA-256')
  return { salt: bytes.subarray(0, saltBytes), hash: bytes.subarray(saltBytes) }
}

function saltedHash(salt: Buffer, password: string): Buffer {
  return hash('sha256', Buffer.concat([salt, Buffer.from(password)]), 'buffer')
}
