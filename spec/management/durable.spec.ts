/** What the management API has answered is on the disk: nothing is answered before the sync. */
import t from 'tap'
import { application } from '../../src/management/application.js'
import { permissionRoutes } from '../../src/management/permissions.js'
import { queueRoutes } from '../../src/management/queues.js'
import { userRoutes } from '../../src/management/users.js'
import { vhostRoutes } from '../../src/management/vhosts.js'
import { SimulatedDisk } from '../support/simulated-disk.js'
import { inTurns, storedBroker, tick } from '../support/stored-broker.js'

const changes = [
  ['PUT', '/vhosts/v', {}],
  ['PUT', '/users/u', { password: 'p', tags: '' }],
  ['PUT', '/permissions/v/u', { configure: '', write: '', read: '' }],
  ['PUT', '/vhost-limits/v/max-queues', { value: 5 }],
  ['PUT', '/user-limits/u/max-channels', { value: 5 }],
  ['PUT', '/queues/v/q', {}],
  ['DELETE', '/permissions/v/u', undefined],
  ['DELETE', '/users/u', undefined],
  ['DELETE', '/vhosts/v', undefined],
] as const

t.test('a change is answered when it is there for good, and not before', async t => {
  const held: (() => void)[] = []
  let holding = false
  const { broker, clock } = storedBroker(new SimulatedDisk(1), 'secret', files => ({
    ...files,
    create: async path => {
      const file = await files.create(path)
      const sync = async () => {
        if (holding) await new Promise<void>(resolve => held.push(resolve))
        await file.sync()
      }
      return { ...file, sync }
    },
  }))
  await inTurns(
    clock,
    broker.open(() => {}),
  )
  const app = await application(broker, [
    ...vhostRoutes(broker, 'node'),
    ...userRoutes(broker),
    ...permissionRoutes(broker),
    ...queueRoutes(broker, 'node'),
  ])
  const headers = { authorization: `Basic ${btoa('guest:secret')}` }
  for (const [method, url, payload] of changes) {
    holding = true
    let answered = false
    const request = { method, url: `/api${url}`, headers, remoteAddress: '127.0.0.1' }
    const answer = app
      .inject({ ...request, ...(payload !== undefined && { payload: JSON.stringify(payload) }) })
      .then(response => {
        answered = true
        return response.statusCode
      })
    for (let i = 0; i < 50; i++) {
      clock.advance(100)
      await tick()
    }
    t.notOk(answered, `${method} ${url} waits`)
    holding = false
    for (const release of held.splice(0)) release()
    t.ok((await inTurns(clock, answer)) < 300, `${method} ${url} is answered`)
  }
  await app.close()
  await inTurns(clock, broker.close())
})
