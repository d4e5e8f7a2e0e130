/** Definitions given at the start, in files or by the program that embeds the broker. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import amqp from 'amqplib'
import t, { type Test } from 'tap'
import { startBroker } from '../../src/index.js'

async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-definitions-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const all = { configure: '.*', write: '.*', read: '.*' }

const document = {
  users: [{ name: 'u', password: 'p', tags: [] }],
  vhosts: [{ name: 'v' }],
  permissions: [{ user: 'u', vhost: 'v', ...all }],
  queues: [{ vhost: 'v', name: 'q' }],
}

/** Whether somebody can log in, and that the queue is there. */
async function works(url: string, queue: string | null): Promise<boolean> {
  try {
    const connection = await amqp.connect(url)
    const channel = await connection.createChannel()
    if (queue !== null) await channel.checkQueue(queue)
    await connection.close()
    return true
  } catch {
    return false
  }
}

async function started(t: Test, options: Parameters<typeof startBroker>[0]) {
  const broker = await startBroker(options)
  t.teardown(() => broker.close())
  const at = (user: string, vhost = '') => `amqp://${user}@127.0.0.1:${broker.port}/${vhost}`
  return { broker, at }
}

t.test('users of a file come in the place of the default one', async t => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'definitions.json')
  await writeFile(file, `\uFEFF${JSON.stringify(document)}`)
  const { at } = await started(t, { settings: { load_definitions: file } })
  t.ok(await works(at('u:p', 'v'), 'q'))
  t.notOk(await works(at('guest:guest', '%2f'), null))
})

t.test('events have their exchange in the default vhost, also where a file makes it', async t => {
  const user = { name: 'u', password: 'p', tags: [] }
  const permissions = [{ user: 'u', vhost: '/', ...all }]
  const definitions = { users: [user], vhosts: [{ name: '/' }], permissions }
  const file = join(await temporaryFolder(t), 'definitions.json')
  await writeFile(file, JSON.stringify(definitions))
  const { at } = await started(t, { settings: { load_definitions: file } })
  const connection = await amqp.connect(at('u:p', '%2f'))
  t.teardown(() => connection.close())
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  await t.resolves(channel.checkExchange('amq.rabbitmq.event'))
})

t.test('a file that names no users leaves the default one', async t => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'definitions.json')
  await writeFile(file, JSON.stringify({ queues: [{ vhost: '/', name: 'q' }] }))
  const { broker } = await started(t, { settings: { load_definitions: file } })
  t.ok(await works(broker.url, 'q'))
})

t.test('of a folder all files count, in the order of their names', async t => {
  const folder = await temporaryFolder(t)
  const { queues, ...rest } = document
  await writeFile(join(folder, '2.json'), JSON.stringify({ queues }))
  await writeFile(join(folder, '1.json'), JSON.stringify(rest))
  await writeFile(join(folder, 'notes.txt'), 'no definitions')
  const { at } = await started(t, { settings: { load_definitions: folder } })
  t.ok(await works(at('u:p', 'v'), 'q'))
})

t.test('at every start they are added to what there is', async t => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'definitions.json')
  const settings = { load_definitions: file, data_dir: join(folder, 'data') }
  await writeFile(file, JSON.stringify(document))
  const first = await startBroker({ settings })
  await first.close()
  const more = { ...document, queues: [{ vhost: 'v', name: 'later' }] }
  await writeFile(file, JSON.stringify(more))
  const { at } = await started(t, { settings })
  t.ok(await works(at('u:p', 'v'), 'q'))
  t.ok(await works(at('u:p', 'v'), 'later'))
})

t.test('what cannot be taken is told, and there is no broker', async t => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'definitions.json')
  const start = (settings: object) => startBroker({ settings: { ...settings } })
  await t.rejects(start({ load_definitions: file }), {
    name: 'DefinitionsError',
    problems: [/^.*definitions.json: cannot be read \(ENOENT/],
  })
  await writeFile(file, '{bad')
  await t.rejects(start({ load_definitions: file }), {
    name: 'DefinitionsError',
    problems: [/^.*definitions.json: is no JSON/],
  })
  await writeFile(file, JSON.stringify({ users: [{}], queues: [{ vhost: 'v', name: 'q' }] }))
  const data = join(folder, 'data')
  await mkdir(data)
  await t.rejects(start({ load_definitions: file, data_dir: data }), {
    name: 'DefinitionsError',
    problems: [
      /json: users\[0\].name: is missing/,
      /json: users/,
      /json: queues\[0\]: no vhost 'v'/,
    ],
  })
  const broker = await startBroker({ settings: { data_dir: data } })
  t.equal(typeof broker.port, 'number', 'the folder is free again')
  await broker.close()
})

t.test('a program gives its definitions as an object, and keeps the default user', async t => {
  const { broker, at } = await started(t, { definitions: document })
  t.ok(await works(at('u:p', 'v'), 'q'))
  t.ok(await works(broker.url, null))
  await t.rejects(startBroker({ definitions: { users: 5 } }), {
    name: 'DefinitionsError',
    problems: ['definitions: users: must be a list'],
  })
})

t.test('the default user may do what the settings say', async t => {
  const settings = { default_user: 'u', default_pass: 'p', 'default_permissions.configure': '^a' }
  const { broker } = await started(t, { settings: { ...settings, default_user_tags: 'none' } })
  const connection = await amqp.connect(broker.url)
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  await channel.assertQueue('a')
  await t.rejects(channel.assertQueue('b'), { message: /ACCESS_REFUSED - configure access/ })
  await connection.close()
  await t.rejects(startBroker({ settings: { 'default_permissions.read': '[' } }), {
    message: /default_permissions.read: must be a regular expression/,
  })
})
