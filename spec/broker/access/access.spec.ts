/** Users, permissions, vhosts and limits: what is refused, and what of them survives. */
import t from 'tap'
import { usualAlgorithm } from '../../../src/broker/access/passwords.js'
import type { Broker } from '../../../src/broker/broker.js'
import { type Command, encodeCommand } from '../../../src/broker/command.js'
import type { Owner } from '../../../src/broker/queues/queue.js'
import { Dice, SimulatedDisk } from '../../support/simulated-disk.js'
import { inTurns, storedBroker, tick } from '../../support/stored-broker.js'

const all = { configure: '.*', write: '.*', read: '.*' }
const owner: Owner = { owns: () => {}, disowns: () => {} }

/** Everything there is, as the commands that would make it. */
function state(broker: Broker): string {
  const commands = Array.from(broker.access.commands(), command =>
    encodeCommand(command).toString('latin1'),
  )
  return commands.sort().join('\n')
}

async function opened(disk: SimulatedDisk) {
  const { broker, clock } = storedBroker(disk)
  await inTurns(
    clock,
    broker.open(() => {}),
  )
  const stop = async () => {
    await inTurns(clock, broker.close())
    disk.kill()
  }
  return { broker, access: broker.access, stop }
}

t.test('users, permissions, vhosts and limits are there again after a restart', async t => {
  const disk = new SimulatedDisk(1)
  const first = await opened(disk)
  const { access } = first
  access.setUser('u', { password: 'secret' }, ['monitoring', 'a,b'])
  access.setUser('none', null, [])
  access.setUser(
    'md5',
    {
      passwordHash: Buffer.alloc(20).toString('base64'),
      algorithm: 'rabbit_password_hashing_md5',
    },
    [],
  )
  access.setUserLimits('u', { 'max-channels': 5 })
  access.addVhost('v')
  access.describeVhost('v', { description: 'd', tags: ['x'], defaultQueueType: 'classic' })
  access.setVhostLimits('v', { 'max-queues': 7, 'max-connections': -1 })
  access.setPermission('u', 'v', { configure: '^a', write: '', read: '.*' })
  access.setTopicPermission('u', 'v', 'amq.topic', { write: '^{username}', read: '' })
  access.addVhost('gone')
  access.setUser('gone', null, [])
  access.setPermission('gone', 'v', all)
  access.setPermission('u', 'gone', all)
  access.removeUser('gone')
  access.removeVhost('gone')
  access.setPermission('none', 'v', all)
  access.removePermission('none', 'v')
  access.setTopicPermission('none', 'v', 'x', { write: '', read: '' })
  access.removeTopicPermission('none', 'v', 'x')
  const before = state(first.broker)
  await first.stop()
  const second = await opened(disk)
  t.equal(state(second.broker), before)
  const { users, permissions, vhosts } = second.access
  t.match(users.get('u'), { tags: ['monitoring', 'a,b'], limits: { 'max-channels': 5 } })
  t.equal(users.refusal('u', 'secret', true), null)
  t.match(users.get('md5'), { algorithm: 'rabbit_password_hashing_md5' })
  t.match(vhosts.get('v'), {
    metadata: { description: 'd', tags: ['x'], defaultQueueType: 'classic' },
    limits: { 'max-queues': 7, 'max-connections': -1 },
  })
  t.ok(permissions.of('u', 'v')?.allows('configure', 'abc'))
  t.notOk(permissions.of('u', 'v')?.allows('write', 'abc'))
  t.ok(permissions.ofTopic('u', 'v', 'amq.topic')?.allows('write', 'u.x'))
  t.equal(permissions.of('gone', 'v'), undefined)
  t.equal(vhosts.has('gone'), false)
  t.match(users.get('guest'), { tags: ['administrator'] })
  t.strictSame(permissions.of('guest', '/')?.patterns, all, 'those of the first start')
})

t.test('a vhost of the same name as a removed one has nothing of it', async t => {
  const disk = new SimulatedDisk(1)
  const first = await opened(disk)
  first.access.addVhost('v')
  const vhost = first.access.vhosts.get('v')
  vhost?.declareQueue({
    name: 'q',
    durable: true,
    exclusive: false,
    autoDelete: false,
    arguments: [],
    owner,
  })
  vhost?.policies.set('policy', 'p', { pattern: '.*', definition: { 'max-length': 1 } })
  first.access.describeVhost('v', { description: 'old', tags: [], defaultQueueType: '' })
  first.access.setVhostLimits('v', { 'max-queues': 1 })
  first.access.setPermission('guest', 'v', all)
  first.access.removeVhost('v')
  first.access.addVhost('v')
  await first.stop()
  const { access } = await opened(disk)
  const again = access.vhosts.get('v')
  t.equal(again?.queues.size, 0)
  t.strictSame(again?.policies.all('policy'), [])
  t.match(again, { metadata: { description: '' }, limits: {} })
  t.equal(access.permissions.of('guest', 'v'), undefined)
})

t.test('who removes all vhosts finds none after a restart, and no new user either', async t => {
  const disk = new SimulatedDisk(1)
  const first = await opened(disk)
  first.access.removeVhost('/')
  first.access.setPassword('guest', { password: 'other' })
  await first.stop()
  const { access } = await opened(disk)
  t.equal(access.vhosts.size, 0)
  t.equal(access.users.refusal('guest', 'other', true), null)
})

t.test('users from before there were permissions may do what they could do then', async t => {
  const disk = new SimulatedDisk(1)
  const first = await opened(disk)
  const { definitions, users } = first.broker
  first.access.addVhost('v')
  const older = { command: 'user.set', name: 'older', passwordHash: users.hashOf('secret') }
  definitions.append(older as unknown as Command)
  await first.stop()
  for (const life of [2, 3]) {
    const { access, stop } = await opened(disk)
    t.match(access.users.get('older'), { tags: ['administrator'], limits: {} }, `life ${life}`)
    t.equal(access.users.refusal('older', 'secret', true), null)
    for (const vhost of ['/', 'v'])
      t.strictSame(access.permissions.of('older', vhost)?.patterns, all)
    await stop()
  }
  const third = await opened(disk)
  third.access.removePermission('older', 'v')
  await third.stop()
  const { access } = await opened(disk)
  t.equal(access.permissions.of('older', 'v'), undefined)
})

t.test('a durable queue gets the type that its vhost has for it', async t => {
  const { access } = await opened(new SimulatedDisk(1))
  access.addVhost('v')
  const vhost = access.vhosts.get('v')
  access.describeVhost('v', { description: '', tags: [], defaultQueueType: 'nonsense' })
  const request = { name: 'q', durable: true, exclusive: false, autoDelete: false, owner }
  t.throws(() => vhost?.declareQueue({ ...request, arguments: [] }), { message: /'nonsense'/ })
  for (const flags of [{ durable: false }, { exclusive: true }, { autoDelete: true }])
    t.doesNotThrow(() => vhost?.declareQueue({ ...request, ...flags, name: '', arguments: [] }))
  const classic = { key: 'x-queue-type', value: { type: 'S', value: Buffer.from('classic') } }
  t.doesNotThrow(() => vhost?.declareQueue({ ...request, arguments: [classic as never] }))
})

t.test('what cannot be is refused, and changes nothing', async t => {
  const { access, broker } = await opened(new SimulatedDisk(1))
  const before = state(broker)
  const hash = { passwordHash: 'AAAA', algorithm: usualAlgorithm }
  const refusals: readonly (readonly [string, () => unknown])[] = [
    ["NOT_FOUND - no user 'u'", () => access.setPermission('u', '/', all)],
    ["NOT_FOUND - no vhost 'v'", () => access.setPermission('guest', 'v', all)],
    ["NOT_FOUND - no user 'u'", () => access.removeUser('u')],
    ["NOT_FOUND - no vhost 'v'", () => access.removeVhost('v')],
    ["NOT_FOUND - no vhost 'v'", () => access.setVhostLimits('v', {})],
    ["NOT_FOUND - no user 'u'", () => access.setUserLimits('u', {})],
    ["NOT_FOUND - no user 'u'", () => access.setPassword('u', null)],
    [
      "NOT_FOUND - no permissions of user 'u' in vhost '/'",
      () => access.removePermission('u', '/'),
    ],
    [
      'PRECONDITION_FAILED - Unrecognised terms [bogus] in limits',
      () => access.setVhostLimits('/', { bogus: 1 }),
    ],
    [
      'PRECONDITION_FAILED - max-channels should be a number, actually was 1.5',
      () => access.setUserLimits('guest', { 'max-channels': 1.5 }),
    ],
    [
      "PRECONDITION_FAILED - invalid regular expression '[' for write: missing terminating ] for character class at 1",
      () => access.setPermission('guest', '/', { ...all, write: '[' }),
    ],
    [
      "PRECONDITION_FAILED - invalid regular expression '(' for read: missing ) at 1",
      () => access.setTopicPermission('guest', '/', 'x', { write: '', read: '(' }),
    ],
    [
      `PRECONDITION_FAILED - a password hash of ${usualAlgorithm} is base64 of 36 bytes`,
      () => access.setUser('u', hash, []),
    ],
    [
      'PRECONDITION_FAILED - a user may have 32 tags at most',
      () => access.setUser('u', null, Array(33).fill('t')),
    ],
    ['PRECONDITION_FAILED - a user must have a name', () => access.setUser('', null, [])],
    ['PRECONDITION_FAILED - a vhost must have a name', () => access.addVhost('')],
  ]
  for (const [message, act] of refusals) t.throws(act, { message })
  t.equal(access.addVhost('/'), 0, 'one that is there stays as it is')
  t.equal(state(broker), before)
})

/** Changes something at random; returns the log number at which that is there for good. */
function change({ access }: Broker, dice: Dice): number {
  const user = `u${dice.below(4)}`
  const vhost = `v${dice.below(3)}`
  const patterns = { configure: '', write: `^${dice.below(9)}`, read: '.*' }
  try {
    switch (dice.below(12)) {
      case 0:
        return access.addVhost(vhost)
      case 1:
        return access.removeVhost(vhost)
      case 2: {
        const description = 'd'.repeat(dice.below(60_000))
        return access.describeVhost(vhost, { description, tags: ['t'], defaultQueueType: '' })
      }
      case 3:
        return access.setVhostLimits(vhost, { 'max-queues': dice.below(9) })
      case 4:
      case 5:
        return access.setUser(user, { password: `${dice.below(9)}` }, [
          't'.repeat(dice.below(50_000)),
        ])
      case 6:
        return access.removeUser(user)
      case 7:
        return access.setUserLimits(user, { 'max-channels': dice.below(9) })
      case 8:
        return access.setPermission(user, vhost, patterns)
      case 9:
        return access.removePermission(user, vhost)
      case 10:
        return access.setTopicPermission(user, vhost, `x${dice.below(2)}`, patterns)
      default:
        return access.removeTopicPermission(user, vhost, `x${dice.below(2)}`)
    }
  } catch (error) {
    if ((error as { reply?: string }).reply === undefined) throw error
    return 0
  }
}

t.test('what was answered survives any crash, also in the middle of a snapshot', async t => {
  let [changes, snapshots] = [0, 0]
  for (let seed = 1; seed <= 6; seed++) {
    const disk = new SimulatedDisk(seed)
    const dice = new Dice(seed + 1000)
    let [states, answered] = [[''], 0]
    for (let life = 0; life < 6; life++) {
      const { broker, clock } = storedBroker(disk)
      const commands = broker.commands.bind(broker)
      broker.commands = () => {
        snapshots++
        return commands()
      }
      await inTurns(
        clock,
        broker.open(() => {}),
      )
      const found = state(broker)
      if (life > 0 && states.indexOf(found, answered) < 0) {
        t.fail(`seed ${seed}, life ${life}: what was answered is lost, or came again`)
        return
      }
      ;[states, answered] = [[found], 0]
      const history = states
      let over = false
      for (let left = 5 + dice.below(40); left > 0; left--) {
        for (let i = dice.below(8); i > 0; i--) {
          const number = change(broker, dice)
          changes++
          const at = history.push(state(broker)) - 1
          broker.definitions.whenDurable(number, () => {
            if (!over) answered = Math.max(answered, number === 0 ? 0 : at)
          })
        }
        await tick()
        if (dice.chance(0.2)) clock.advance(dice.below(500))
      }
      over = true
      disk.crash()
    }
  }
  t.ok(changes > 1000 && snapshots > 5, `${changes} changes, ${snapshots} snapshots`)
})
