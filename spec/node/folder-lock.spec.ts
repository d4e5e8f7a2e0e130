/** The lock on a data folder, taken by many at once, and left behind by who was killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { ask, ControlSocket } from '../../src/node/control-socket.js'
import { controlName, FolderInUse, FolderLock } from '../../src/node/folder-lock.js'
import { silence } from '../../src/platform/log.js'
import { systemWorld } from '../../src/platform/world.js'

const world = systemWorld(silence)

async function folderFor(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  return folder
}

/** The socket of a process that was killed. */
async function leaveSocket(folder: string, name: string): Promise<void> {
  const path = join(folder, name)
  const control = await ControlSocket.listen(`${path}.new`, new Map())
  await rename(`${path}.new`, path)
  await control.close()
}

const take = (folder: string) =>
  FolderLock.take(folder, world).catch(error => {
    if (error instanceof FolderInUse) return error
    throw error
  })

t.test('the second is told who is first, and may follow when that lets go', async t => {
  const folder = await folderFor(t)
  const first = await FolderLock.take(folder, world)
  t.match(await readlink(join(folder, controlName)), new RegExp(`^control-${process.pid}-`))
  t.match(await ask(join(folder, controlName), { ask: 'status' }, 10_000), {
    pid: process.pid,
    holding: true,
  })
  await t.rejects(FolderLock.take(folder, world), {
    name: 'FolderInUse',
    pid: process.pid,
    message: `the data folder ${folder} is in use by process ${process.pid}`,
  })
  await first.release()
  t.same(await readdir(folder), [])
  const second = await FolderLock.take(folder, world)
  await second.release()
  await second.release()
  t.same(await readdir(folder), [])
})

t.test('what dead processes left is removed, and nothing else', async t => {
  const folder = await folderFor(t)
  // In a container every process is number 1, we too.
  for (const name of ['control-1-00000000.sock', `control-${process.pid}-ffffffff.sock`])
    await leaveSocket(folder, name)
  await writeFile(join(folder, controlName), '')
  await writeFile(join(folder, 'control-notes.txt'), '')
  const lock = await FolderLock.take(folder, world)
  t.equal((await readdir(folder)).length, 3)
  t.ok((await lstat(join(folder, controlName))).isSymbolicLink())
  await lock.release()
  t.same(await readdir(folder), ['control-notes.txt'])
})

t.test('a socket that never had its name goes when it is old', async t => {
  const folder = await folderFor(t)
  const old = join(folder, 'control-1-00000000.sock.new')
  const fresh = join(folder, 'control-1-11111111.sock.new')
  for (const path of [old, fresh]) await writeFile(path, '')
  await utimes(old, new Date(), new Date(Date.now() - 100_000))
  const lock = await FolderLock.take(folder, world)
  await lock.release()
  t.same(await readdir(folder), ['control-1-11111111.sock.new'], 'its process may be about to')
})

t.test('a path longer than any socket may have', async t => {
  const folder = join(await folderFor(t), 'd'.repeat(200))
  await mkdir(folder)
  const lock = await FolderLock.take(folder, world)
  await t.rejects(FolderLock.take(folder, world), { name: 'FolderInUse', pid: process.pid })
  await lock.release()
  t.same(await readdir(folder), [])
})

t.test('of many in one process that try at once, one has it each time', async t => {
  const folder = await folderFor(t)
  for (let round = 0; round < 60; round++) {
    if (round % 2 === 0) await leaveSocket(folder, `control-${round}-0000aaaa.sock`)
    const tries = Array.from({ length: 2 + (round % 6) }, () => take(folder))
    const outcomes = await Promise.all(tries)
    const holders = outcomes.filter(outcome => outcome instanceof FolderLock)
    if (holders.length !== 1) t.fail(`${holders.length} of ${tries.length} have it`)
    for (const holder of holders) await holder.release()
  }
  t.same(await readdir(folder), [])
})

const program = `
import { createInterface } from 'node:readline'
import { FolderLock } from ${JSON.stringify(new URL('../../src/node/folder-lock.js', import.meta.url).href)}
import { systemWorld } from ${JSON.stringify(new URL('../../src/platform/world.js', import.meta.url).href)}
const world = systemWorld({})
console.log('ready')
for await (const folder of createInterface(process.stdin))
  await FolderLock.take(folder, world).then(
    () => console.log('holding'),
    error => console.log('refused', error.name, error.pid),
  )
`

interface Taker {
  readonly child: ChildProcess
  next(): Promise<string>
}

async function taker(t: Test): Promise<Taker> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value ?? 'ended'
  t.equal(await next(), 'ready')
  return { child, next }
}

t.test('of ten processes that try at once one has it, also when it was killed before', async t => {
  const folder = await folderFor(t)
  let takers = await Promise.all(Array.from({ length: 10 }, () => taker(t)))
  while (takers.length > 1) {
    for (const { child } of takers) child.stdin?.write(`${folder}\n`)
    const outcomes = await Promise.all(takers.map(({ next }) => next()))
    const holder = takers[outcomes.indexOf('holding')] as Taker
    const { pid } = holder.child
    t.strictSame(
      outcomes.filter(outcome => outcome !== 'holding'),
      takers.slice(1).map(() => `refused FolderInUse ${pid}`),
    )
    const ended = once(holder.child, 'exit')
    holder.child.kill('SIGKILL')
    await ended
    takers = takers.filter(taker => taker !== holder)
  }
  const lock = await FolderLock.take(folder, world)
  t.equal((await readdir(folder)).length, 2)
  await lock.release()
  t.same(await readdir(folder), [])
})

t.test('a holder that is stopped has it all the same', async t => {
  const folder = await folderFor(t)
  const { child, next } = await taker(t)
  child.stdin?.write(`${folder}\n`)
  t.equal(await next(), 'holding')
  child.kill('SIGSTOP')
  await t.rejects(FolderLock.take(folder, world), { name: 'FolderInUse', pid: child.pid })
  child.kill('SIGKILL')
  await once(child, 'exit')
  await (await FolderLock.take(folder, world)).release()
})
