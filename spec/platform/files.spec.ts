/** The machine's own files, in a folder of their own. */
import { existsSync, statSync } from 'node:fs'
import t from 'tap'
import { type OpenFile, readAll, systemFiles, writeAll } from '../../src/platform/files.js'

const linux = process.platform === 'linux' ? false : 'only on Linux'
const windows = process.platform === 'win32' ? 'not on Windows' : false

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')

/** All that is in a file. */
async function content(file: OpenFile): Promise<string> {
  const bytes = Buffer.alloc(await file.size())
  await readAll(file, bytes, 0)
  return text(bytes)
}

t.test('what is written at a place is read there, by whoever opens the file', async t => {
  const folder = `${t.testdir({})}/a/b`
  await systemFiles.makeFolder(folder)
  await systemFiles.makeFolder(folder)
  const file = await systemFiles.create(`${folder}/one`)
  await writeAll(file, [Buffer.from('123'), Buffer.alloc(0), Buffer.from('456')], 4)
  await file.sync()
  await systemFiles.syncFolder(folder)
  t.equal(await content(file), '\0\0\0\x00123456')
  await file.truncate(6)
  t.equal(await file.size(), 6)
  await file.close()
  const again = await systemFiles.open(`${folder}/one`)
  t.equal(await content(again), '\0\0\0\x0012')
  const beyond = Buffer.alloc(10)
  t.equal(await readAll(again, beyond, 4), 2, 'reading ends where the file does')
  t.equal(text(beyond.subarray(0, 3)), '12\0')
  await again.close()
})

t.test('writes and reads that are short are continued', async t => {
  const file = await systemFiles.create(`${t.testdir({})}/short`)
  const all = Array.from({ length: 50 }, (_, i) => Buffer.alloc(i * 7, 65 + (i % 26)))
  let calls = 0
  const short: OpenFile = {
    ...file,
    write: (parts, at) => {
      calls++
      // As much as the kernel might take: somewhere in the middle of one of them.
      const some = Buffer.concat(parts).subarray(0, 1 + ((calls * 37) % 101))
      return file.write([some], at)
    },
    read: (into, at) => file.read(into.subarray(0, 1 + (at % 13)), at),
  }
  await writeAll(short, all, 11)
  t.ok(calls > 50, `${calls} writes`)
  const bytes = Buffer.alloc(11 + Buffer.concat(all).length)
  t.equal(await readAll(short, bytes, 0), bytes.length)
  t.ok(bytes.subarray(11).equals(Buffer.concat(all)))
  t.equal((await content(file)).length, bytes.length)
  const stuck: OpenFile = { ...file, write: async () => 0 }
  await t.rejects(writeAll(stuck, all, 0), { message: 'the disk takes no more bytes' })
  await file.close()
})

t.test('more stretches than one call of the kernel takes are written', async t => {
  const file = await systemFiles.create(`${t.testdir({})}/many`)
  const parts = Array.from({ length: 5000 }, (_, i) => Buffer.from(`${i},`))
  await writeAll(file, parts, 0)
  t.equal(await content(file), parts.join(''))
  await file.close()
})

t.test('names are listed in order, renamed and removed', async t => {
  const folder = t.testdir({ c: '', a: '', b: '' })
  t.same(await systemFiles.list(folder), ['a', 'b', 'c'])
  await systemFiles.rename(`${folder}/c`, `${folder}/b`)
  await systemFiles.remove(`${folder}/a`)
  await systemFiles.syncFolder(folder)
  t.same(await systemFiles.list(folder), ['b'])
})

t.test('files and folders are for their owner alone', { skip: windows }, async t => {
  const folder = `${t.testdir({})}/data`
  await systemFiles.makeFolder(folder)
  const file = await systemFiles.create(`${folder}/file`)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  t.equal(statSync(`${folder}/file`).mode & 0o777, 0o600)
  await file.close()
})

t.test('what is wrong is told by the code of the error', async t => {
  const folder = t.testdir({ there: '' })
  await t.rejects(systemFiles.create(`${folder}/there`), { code: 'EEXIST' })
  await t.rejects(systemFiles.open(`${folder}/missing`), { code: 'ENOENT' })
  await t.rejects(systemFiles.remove(`${folder}/missing`), { code: 'ENOENT' })
  await t.rejects(systemFiles.list(`${folder}/missing`), { code: 'ENOENT' })
  await t.rejects(systemFiles.syncFolder(`${folder}/missing`), { code: 'ENOENT' })
  await t.rejects(systemFiles.makeFolder(`${folder}/there/below`), { code: 'ENOTDIR' })
  t.notOk(existsSync(`${folder}/missing`))
})

t.test('a full disk and a bad place are errors of write and read', { skip: linux }, async t => {
  const full = await systemFiles.open('/dev/full')
  await t.rejects(writeAll(full, [Buffer.from('x')], 0), { code: 'ENOSPC' })
  await t.rejects(full.sync(), { code: 'EINVAL' }, 'a sync that fails is not taken for one')
  await full.close()
  // Memory that is not there.
  const bad = await systemFiles.open('/proc/self/mem')
  await t.rejects(readAll(bad, Buffer.alloc(8), 0), { code: 'EIO' })
  await bad.close()
})

t.test('a disk tells how much of it is free', async t => {
  const free = await systemFiles.freeBytes(t.testdir({}))
  t.ok(Number.isInteger(free) && free >= 0)
  await t.rejects(systemFiles.freeBytes(`${t.testdirName}/missing`), { code: 'ENOENT' })
})

t.test('a folder is made with those above it, by several at once too', async t => {
  const parent = t.testdir({ file: '' })
  const folder = `${parent}/a/b/c`
  await Promise.all([systemFiles.makeFolder(folder), systemFiles.makeFolder(folder)])
  t.ok(existsSync(folder))
  await t.rejects(systemFiles.makeFolder(`${parent}/file`), { code: 'EEXIST' })
  await systemFiles.makeFolder('/')
})

t.test('a folder that cannot be made is told, even in /proc', { skip: linux }, async t => {
  await t.rejects(systemFiles.makeFolder('/proc/leveret/data'), { code: 'ENOENT' })
})
