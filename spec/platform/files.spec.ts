/** The files of the machine: what the store takes for granted of them. */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemFiles } from '../../src/platform/files.js'

t.test('a folder is made with those above it, for this user alone', async t => {
  const parent = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(parent, { recursive: true }))
  const folder = join(parent, 'a', 'b', 'c')
  await Promise.all([systemFiles.makeFolder(folder), systemFiles.makeFolder(folder)])
  await systemFiles.makeFolder(folder)
  for (const path of [folder, join(folder, '..'), join(folder, '..', '..')])
    t.equal((await stat(path)).mode & 0o777, 0o700)
  await writeFile(join(parent, 'file'), '')
  await t.rejects(systemFiles.makeFolder(join(parent, 'file')), { code: 'EEXIST' })
  await t.rejects(systemFiles.makeFolder(join(parent, 'file', 'below')), { code: 'ENOTDIR' })
  await systemFiles.makeFolder('/')
})

t.test('where no folder can be made, that is told', async t => {
  const { code } = await systemFiles.makeFolder('/proc/leveret/data').catch(error => error)
  t.match(code, /^(ENOENT|EACCES|EPERM|EROFS)$/)
})
