import t from 'tap'
import { ChunkPool, chunkBytes } from '../../src/structures/chunk-pool.js'

t.test('the chunk that came back last is taken first', async t => {
  const pool = new ChunkPool()
  const one = pool.take()
  const other = pool.take()
  t.equal(one.length, chunkBytes)
  t.not(one, other)
  pool.give(one)
  pool.give(other)
  t.equal(pool.take(), other)
  t.equal(pool.take(), one)
})

t.test('it knows what is in use and what is idle', async t => {
  const pool = new ChunkPool()
  t.equal(pool.takenBytes, 0)
  const chunk = pool.take()
  pool.take()
  t.equal(pool.taken, 2)
  pool.give(chunk)
  t.equal(pool.taken, 1)
  t.equal(pool.idleBytes, chunkBytes)
  t.equal(pool.takenBytes, chunkBytes)
})

t.test('a chunk that is forgotten is neither in use nor idle', async t => {
  const pool = new ChunkPool()
  pool.take()
  pool.forget()
  t.equal(pool.takenBytes, 0)
  t.equal(pool.idleBytes, 0)
})

t.test('no more than 64 MiB stay idle', async t => {
  const pool = new ChunkPool()
  const chunks = Array.from({ length: 300 }, () => pool.take())
  for (const chunk of chunks) pool.give(chunk)
  t.equal(pool.taken, 0)
  t.equal(pool.idleBytes, 64 * 1024 * 1024)
})

t.test('no more than 24 MiB while memory is short', async t => {
  const pool = new ChunkPool()
  const chunks = Array.from({ length: 400 }, () => pool.take())
  for (const chunk of chunks.splice(0, 200)) pool.give(chunk)
  pool.short = true
  t.equal(pool.idleBytes, 24 * 1024 * 1024, 'at once')
  for (const chunk of chunks.splice(0, 100)) pool.give(chunk)
  t.equal(pool.idleBytes, 24 * 1024 * 1024)
  pool.short = false
  for (const chunk of chunks) pool.give(chunk)
  t.equal(pool.idleBytes, 24 * 1024 * 1024 + 100 * chunkBytes)
})
