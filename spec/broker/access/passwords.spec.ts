/** Hashes of passwords, as RabbitMQ makes them. */
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  checkHash,
  type HashAlgorithm,
  hashPassword,
  isHashOf,
} from '../../../src/broker/access/passwords.js'
import { Users } from '../../../src/broker/access/users.js'
import { SeededRandom } from '../../support/simulated-world.js'

const sha256 = 'rabbit_password_hashing_sha256'
const nodeNames: Readonly<Record<HashAlgorithm, string>> = {
  rabbit_password_hashing_sha256: 'sha256',
  rabbit_password_hashing_sha512: 'sha512',
  rabbit_password_hashing_md5: 'md5',
}

/** By RabbitMQ: of its documentation, and made by a 3.10.8. */
const made: readonly (readonly [password: string, hash: string])[] = [
  ['test12', 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR'],
  ['mgr', 'E8oyaxx3tcbtYfgbWm+piQ82+UbJRPiRG8LPHwImDoZZ3oUd'],
]

t.test('hashes that a RabbitMQ made are those of their passwords', async t => {
  for (const [password, hash] of made) {
    checkHash(hash, sha256)
    t.ok(isHashOf(hash, sha256, password))
    t.notOk(isHashOf(hash, sha256, `${password} `))
  }
})

t.test('a hash is one of its password alone, by every algorithm', async () => {
  const names = Object.keys(nodeNames) as HashAlgorithm[]
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.string(),
      fc.string(),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      (algorithm, password, other, salt) => {
        const digest = createHash(nodeNames[algorithm]).update(salt).update(password).digest()
        const hash = Buffer.concat([salt, digest]).toString('base64')
        checkHash(hash, algorithm)
        return (
          isHashOf(hash, algorithm, password) &&
          isHashOf(hash, algorithm, other) === (other === password)
        )
      },
    ),
  )
})

t.test('what is too short, too long or no base64 is no hash', async t => {
  const good = hashPassword('secret', Buffer.alloc(4))
  checkHash(good, sha256)
  for (const [hash, algorithm] of [
    [good, 'rabbit_password_hashing_sha512'],
    [good, 'rabbit_password_hashing_md5'],
    [good.slice(0, -4), sha256],
    [`${good.slice(0, -4)}****`, sha256],
    ['', sha256],
  ] as const)
    t.throws(() => checkHash(hash, algorithm), {
      message: /^PRECONDITION_FAILED - a password hash/,
    })
})

t.test('without a password, with a blank one or as nobody there is no login', async t => {
  const users = new Users([], new SeededRandom())
  const user = { algorithm: sha256, tags: [], limits: {} } as const
  users.set({ ...user, name: 'none', passwordHash: '' })
  users.set({ ...user, name: 'blank', passwordHash: users.hashOf('') })
  users.set({ ...user, name: 'some', passwordHash: users.hashOf('secret') })
  t.equal(users.refusal('some', 'secret', false), null)
  for (const [name, password] of [
    ['none', ''],
    ['none', 'secret'],
    ['blank', ''],
    ['nobody', ''],
    ['nobody', 'secret'],
    ['some', ''],
  ] as const)
    t.equal(users.refusal(name, password, true), 'invalid credentials', `${name} ${password}`)
})
