/** The ways to log in besides PLAIN and AMQPLAIN, which every other test uses. */
import t, { type Test } from 'tap'
import { type RunningBroker, startBroker } from '../src/index.js'
import { RawClient } from './support/raw-client.js'
import { table } from './support/raw-codec.js'

async function broker(t: Test, settings: Record<string, unknown>): Promise<RunningBroker> {
  const running = await startBroker({ settings })
  t.teardown(() => running.close())
  return running
}

async function connect(t: Test, target: RunningBroker): Promise<RawClient> {
  const client = await RawClient.connect(target)
  t.teardown(() => client.destroy())
  return client
}

async function offered(t: Test, target: RunningBroker): Promise<string> {
  const { mechanisms } = await (await connect(t, target)).start()
  return String(mechanisms)
}

t.test('only what is set is offered, in its order', async t => {
  t.equal(await offered(t, await broker(t, {})), 'PLAIN AMQPLAIN')
  const anonymous = { anonymous_login_user: 'guest', anonymous_login_pass: 'guest' }
  t.equal(await offered(t, await broker(t, anonymous)), 'PLAIN AMQPLAIN ANONYMOUS')
  const half = { anonymous_login_user: 'guest' }
  t.equal(await offered(t, await broker(t, half)), 'PLAIN AMQPLAIN')
  const all = { auth_mechanisms: 'EXTERNAL,RABBIT-CR-DEMO,ANONYMOUS,PLAIN', ...anonymous }
  t.equal(
    await offered(t, await broker(t, all)),
    'RABBIT-CR-DEMO ANONYMOUS PLAIN',
    'EXTERNAL by TLS only',
  )
})

t.test('ANONYMOUS logs in as the user that is set', async t => {
  const settings = { anonymous_login_user: 'guest', anonymous_login_pass: 'guest' }
  const client = await connect(t, await broker(t, settings))
  await client.login({ mechanism: 'ANONYMOUS', response: 'whoever' })
  await client.channel(1)
  await client.call(1, 'confirm.select')
  client.publish(1, { key: 'nobody', properties: { userId: 'guest' } })
  t.match(await client.expect(1, 'basic.ack'), { multiple: false })
  const wrong = await connect(t, await broker(t, { ...settings, anonymous_login_pass: 'wrong' }))
  await wrong.start()
  wrong.startOk({ mechanism: 'ANONYMOUS', response: '' })
  t.equal(
    await wrong.outcome(),
    'connection 403 0,0 ACCESS_REFUSED - Login was refused using authentication mechanism ANONYMOUS. For details see the broker logfile.',
  )
})

t.test('what is not offered ends in silence', async t => {
  const running = await broker(t, { auth_mechanisms: 'PLAIN' })
  await Promise.all(
    ['ANONYMOUS', 'EXTERNAL', 'AMQPLAIN', 'RABBIT-CR-DEMO', 'toString', ''].map(async mechanism => {
      const client = await connect(t, running)
      await client.start()
      client.startOk({ mechanism, response: '' })
      t.equal(await client.outcome(), 'dropped', mechanism)
    }),
  )
})

t.test('RABBIT-CR-DEMO asks for the password', async t => {
  const running = await broker(t, { auth_mechanisms: 'RABBIT-CR-DEMO' })
  const challenged = async (response: string) => {
    const client = await connect(t, running)
    await client.start()
    client.startOk({ mechanism: 'RABBIT-CR-DEMO', response: 'guest' })
    const { challenge } = await client.expect(0, 'connection.secure')
    t.equal(String(challenge), 'Please tell me your password')
    client.send(0, 'connection.secure-ok', { response })
    return client.outcome()
  }
  t.equal(await challenged('My password is guest'), 'connection.tune')
  t.match(
    await challenged('My password is no'),
    /^connection 403 0,0 ACCESS_REFUSED - Login was refused using/,
  )
  t.equal(await challenged('guess'), 'dropped')
})

t.test('a refused login is told only to who asked for it', async t => {
  const settings = { anonymous_login_user: 'guest', anonymous_login_pass: 'wrong' }
  const client = await connect(t, await broker(t, settings))
  await client.start()
  client.startOk({ mechanism: 'ANONYMOUS', response: '', capabilities: table({}) })
  t.equal(await client.outcome(), 'dropped')
})
