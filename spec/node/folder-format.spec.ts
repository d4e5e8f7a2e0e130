/** The file that tells which version of the broker a data folder is for. */
import t from 'tap'
import { enterFolder } from '../../src/node/folder-format.js'
import { version } from '../../src/node/version.js'
import { SimulatedDisk } from '../support/simulated-disk.js'

const path = '/data/format.json'

const text = (value: unknown) => Buffer.from(JSON.stringify(value))

t.test('each start counts, and says who it was', async t => {
  const disk = new SimulatedDisk(1)
  for (let epoch = 1; epoch <= 3; epoch++) {
    t.equal(await enterFolder(disk.session(), '/data'), epoch)
    t.same(disk.paths(), [path])
    t.same(JSON.parse(disk.bytes(path).toString()), { format: 1, epoch, version })
  }
})

t.test(
  'a power cut at any moment leaves a folder that opens, and no start counts twice',
  async t => {
    let cuts = 0
    let seen = 0
    for (let seed = 1; seed <= 200; seed++) {
      const disk = new SimulatedDisk(seed)
      let last = 0
      for (let life = 0; life < 6; life++) {
        let ended = false
        // Nothing that runs across the cut ever returns.
        enterFolder(disk.session(), '/data').then(
          epoch => {
            if (epoch <= last) t.fail(`seed ${seed}: start ${epoch} after ${last}`)
            last = epoch
            ended = true
          },
          error => t.fail(`seed ${seed}: ${error.message}`),
        )
        const turns = (seed * 7 + life * 13) % 50
        for (let turn = 0; turn < turns && !ended; turn++)
          await new Promise(resolve => setImmediate(resolve))
        if (!ended) cuts++
        disk.crash()
      }
      seen += last
    }
    t.ok(cuts > 100, `${cuts} starts were cut short`)
    t.ok(seen > 400, `${seen} were not`)
  },
)

t.test('a folder that is not for this version is refused, and stays as it is', async t => {
  for (const [names, expected] of [
    [
      { 'format.json': text({ format: 2, epoch: 7, version: '9.8.7' }) },
      /data folder \/data has format 2, written by version 9\.8\.7; .* up to 1\. Start the version/,
    ],
    [{ 'format.json': text({ format: 1 }) }, /format\.json does not tell/],
    [{ 'format.json': text(null) }, /format\.json does not tell/],
    [{ 'format.json': Buffer.from('{"format":1,"ep') }, /format\.json does not tell/],
    [{ 'format.json': Buffer.alloc(40) }, /format\.json does not tell/],
    [{ messages: Buffer.alloc(0) }, /has messages, but no format\.json/],
    [{ definitions: Buffer.alloc(0) }, /has definitions, but no format\.json/],
  ] as const) {
    const disk = new SimulatedDisk(1)
    for (const [name, bytes] of Object.entries(names)) disk.put(`/data/${name}`, bytes)
    const before = disk.paths()
    await t.rejects(enterFolder(disk.session(), '/data'), {
      name: 'FolderRefused',
      message: expected,
    })
    t.same(disk.paths(), before)
  }
})

t.test('a full disk refuses the start, and costs nothing that was there', async t => {
  const disk = new SimulatedDisk(1)
  t.equal(await enterFolder(disk.session(), '/data'), 1)
  disk.free = 0
  await t.rejects(enterFolder(disk.session(), '/data'), { code: 'ENOSPC' })
  disk.free = 1e6
  t.equal(await enterFolder(disk.session(), '/data'), 2)
  t.same(disk.paths(), [path])
})
