/** Hashes of passwords as RabbitMQ keeps and exports them: base64 of a salt and of H(salt, password). */
import { hash, timingSafeEqual } from 'node:crypto'
import { AmqpError } from '../../wire/replies.js'

const saltBytes = 4

/** RabbitMQ's names of the algorithms, with what they are called elsewhere and the bytes they give. */
const algorithms = {
  rabbit_password_hashing_sha256: { name: 'sha256', bytes: 32 },
  rabbit_password_hashing_sha512: { name: 'sha512', bytes: 64 },
  rabbit_password_hashing_md5: { name: 'md5', bytes: 16 },
} as const

export type HashAlgorithm = keyof typeof algorithms

/** What new passwords are hashed with. */
export const usualAlgorithm: HashAlgorithm = 'rabbit_password_hashing_sha256'

export function isHashAlgorithm(name: string): name is HashAlgorithm {
  return Object.hasOwn(algorithms, name)
}

/** Hashes a password with four bytes of salt. */
export function hashPassword(password: string, salt: Buffer): string {
  return Buffer.concat([salt, digest(usualAlgorithm, salt, password)]).toString('base64')
}

/** Random bytes that a new hash wants. */
export const saltSize = saltBytes

/** Whether a hash is one of a password; in a time that does not tell how near it was. */
export function isHashOf(
  passwordHash: string,
  algorithm: HashAlgorithm,
  password: string,
): boolean {
  const bytes = Buffer.from(passwordHash, 'base64')
  const expected = bytes.subarray(saltBytes)
  return timingSafeEqual(digest(algorithm, bytes.subarray(0, saltBytes), password), expected)
}

/** Refuses what cannot be a hash of this algorithm (406). */
export function checkHash(passwordHash: string, algorithm: HashAlgorithm): void {
  const { bytes } = algorithms[algorithm]
  // Node passes over what is no base64.
  const valid = /^[A-Za-z0-9+/]+={0,2}$/.test(passwordHash)
  if (!valid || Buffer.from(passwordHash, 'base64').length !== saltBytes + bytes)
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `a password hash of ${algorithm} is base64 of ${saltBytes + bytes} bytes`,
    )
}

function digest(algorithm: HashAlgorithm, salt: Buffer, password: string): Buffer {
  return hash(algorithms[algorithm].name, Buffer.concat([salt, Buffer.from(password)]), 'buffer')
}
