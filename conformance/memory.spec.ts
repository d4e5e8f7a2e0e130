/** More messages than there is memory for: what the broker keeps elsewhere, and when it lets publishers wait. */
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openBroker } from './support/broker.js'
import { type Client, openClient } from './support/client.js'
import { eventually, PATIENCE, patiently } from './support/waiting.js'

/** Of a broker in this process, whose heap is this test's too. */
const watermark = 300 * 1024 * 1024

const bodyBytes = 50_000

/** A body that tells which one it is, at both of its ends. */
function numbered(number: number): Buffer {
  const body = Buffer.alloc(bodyBytes, number)
  body.writeUInt32BE(number, 0)
  body.writeUInt32BE(number, bodyBytes - 4)
  return body
}

/** Publishes until so many bytes are there, and returns how many messages that were. */
async function fill(client: Client, queue: string, bytes: number, persistent: boolean) {
  const channel = await client.openConfirmChannel()
  let count = 0
  while (count * bodyBytes < bytes) {
    for (let i = 0; i < 50; i++) channel.sendToQueue(queue, numbered(count++), { persistent })
    await channel.waitForConfirms()
  }
  await channel.close()
  return count
}

/** Takes all messages of a queue and sees that they are as they were, in their order. */
async function drain(t: Test, client: Client, queue: string, count: number): Promise<void> {
  const channel = await client.openChannel()
  await channel.prefetch(200)
  const faults: string[] = []
  let next = 0
  const all = new Promise<void>(resolve => {
    const take = (content: Buffer) => {
      if (!content.equals(numbered(next))) faults.push(`${next}`)
      if (++next === count) resolve()
    }
    void channel.consume(queue, message => {
      if (message === null) return
      take(message.content)
      channel.ack(message)
    })
  })
  await patiently(all, `message ${next} of ${count}`)
  t.strictSame(faults, [])
  await channel.close()
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder))
    bytes += (await stat(join(folder, name)).catch(() => ({ size: 0 }))).size
  return bytes
}

t.test('a backlog larger than its share of memory comes back in order', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'leveret-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const broker = await openBroker(t, {
    data_dir: folder,
    'vm_memory_high_watermark.absolute': watermark,
  })
  if (broker.real) return
  const client = await openClient(t, broker)
  t.setTimeout(4 * PATIENCE)
  const scratch = join(folder, 'scratch')
  for (const persistent of [true, false]) {
    const queue = client.queueName()
    await client.channel.assertQueue(queue, { durable: persistent })
    const count = await fill(client, queue, 0.8 * watermark, persistent)
    if (persistent)
      t.equal(await folderBytes(scratch), 0, 'what is in the log needs no other place')
    else
      await eventually('transient messages on the disk', async () => {
        return (await folderBytes(scratch)) > 0.2 * watermark
      })
    await drain(t, client, queue, count)
  }
  await eventually('the scratch files to go', async () => (await readdir(scratch)).length <= 1)
})

t.test('publishers wait while memory is short, and go on as soon as it is not', async t => {
  const broker = await openBroker(t, { 'vm_memory_high_watermark.absolute': watermark })
  if (broker.real) return
  const client = await openClient(t, broker)
  const publisher = await openClient(t, broker)
  const queue = await client.queue()
  const blocked = once(publisher.connection, 'blocked')
  let isBlocked = false
  void blocked.then(() => {
    isBlocked = true
  })
  for (let i = 0; !isBlocked; i++) {
    for (let j = 0; j < 20; j++) publisher.channel.sendToQueue(queue, numbered(i))
    // The alarm is looked at once a second.
    await client.channel.checkQueue(queue)
  }
  const unblocked = once(publisher.connection, 'unblocked')
  await client.channel.purgeQueue(queue)
  await patiently(unblocked, 'the alarm to be cleared')
  t.pass()
})
