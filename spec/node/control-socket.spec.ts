/** Requests and answers on a socket in the file system. */
import { once } from 'node:events'
import { mkdtemp, rename, rm, stat } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Answerer, ask, ControlSocket } from '../../src/node/control-socket.js'

const answerers = new Map<string, Answerer>([
  ['double', ({ number }) => ({ double: 2 * Number(number) })],
  ['later', async () => ({ at: 'last' })],
  [
    'fail',
    () => {
      throw new Error('it cannot be done')
    },
  ],
])

async function listening(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  const path = join(folder, 'control.sock')
  const control = await ControlSocket.listen(path, answerers)
  t.teardown(async () => {
    await control.close()
    await rm(folder, { recursive: true })
  })
  return { path, control }
}

/** What comes back for bytes of any kind. */
async function raw(path: string, text: string): Promise<string> {
  const socket = net.connect(path)
  let answer = ''
  socket.on('data', data => {
    answer += data
  })
  socket.on('error', () => {})
  socket.write(text)
  await new Promise(resolve => socket.on('close', resolve))
  return answer
}

t.test('a request gets its answer, and only this user may ask', async t => {
  const { path } = await listening(t)
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.same(await ask(path, { ask: 'double', number: 21 }, 10_000), { double: 42 })
  t.same(await ask(path, { ask: 'later' }, 10_000), { at: 'last' })
  t.same(await ask(path, { ask: 'fail' }, 10_000), { error: 'it cannot be done' })
  const many = Array.from({ length: 50 }, (_, number) => ask(path, { ask: 'double', number }, 1e5))
  t.same(
    await Promise.all(many),
    many.map((_, number) => ({ double: 2 * number })),
  )
})

t.test('what is not understood is answered with an error, and ends nothing', async t => {
  const { path } = await listening(t)
  t.same(await ask(path, { ask: 'nothing' }, 10_000), { error: "there is no request 'nothing'" })
  t.same(await ask(path, {}, 10_000), { error: "there is no request 'undefined'" })
  for (const text of ['', '[]', '1', 'null', '{"ask"', '\u0000'])
    t.match(JSON.parse(await raw(path, `${text}\n`)), { error: /./ }, text)
  t.equal(await raw(path, 'x'.repeat(2 ** 21)), '', 'a line without end')
  t.same(await ask(path, { ask: 'double', number: 1 }, 10_000), { double: 2 })
})

t.test('nobody there is told from somebody who does not answer', async t => {
  const { path, control } = await listening(t)
  // Who dies leaves the name behind.
  await rename(path, `${path}.dead`)
  await control.close()
  t.equal(await ask(`${path}.dead`, { ask: 'later' }, 10_000), null)
  t.equal(await ask(path, { ask: 'later' }, 10_000), null)
  const taken: net.Socket[] = []
  const silent = net.createServer(socket => taken.push(socket))
  await once(silent.listen(path), 'listening')
  await t.rejects(ask(path, { ask: 'later' }, 50), { name: 'NoAnswer' })
  silent.on('connection', socket => socket.destroy())
  await t.rejects(ask(path, { ask: 'later' }, 10_000), { name: 'NoAnswer' })
  t.equal(taken.length, 4, 'an end without an answer is tried again')
  for (const socket of taken) socket.destroy()
  silent.close()
})

t.test('a close ends who has not asked yet', async t => {
  const { path, control } = await listening(t)
  const socket = net.connect(path)
  await once(socket, 'connect')
  const ended = once(socket, 'close')
  await control.close()
  await ended
})
