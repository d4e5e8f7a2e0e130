/** Sockets over the loopback: on Node's handles, and on its streams where the handles cannot be had. */
import { once } from 'node:events'
import net from 'node:net'
import t, { type Test } from 'tap'
import { SystemClock } from '../../src/platform/clock.js'
import { listen, type Socket, type SocketOwner } from '../../src/platform/sockets.js'
import { Turn } from '../../src/platform/turn.js'

/** Our end of a connection, and what it heard. */
class Owner implements SocketOwner {
  readonly isStranger = true
  readonly heard: string[] = []
  bytes = Buffer.alloc(0)
  /** Called with what has just been heard. */
  hear = (_: string) => {}

  received(bytes: Buffer, length: number): void {
    this.bytes = Buffer.concat([this.bytes, bytes.subarray(0, length)])
    this.hear('received')
  }

  drained(): void {
    this.hear('drained')
  }

  ended(): void {
    this.#note('ended')
  }

  closed(): void {
    this.#note('closed')
  }

  #note(what: string): void {
    this.heard.push(what)
    this.hear(what)
  }

  /** Waits until something is heard, or holds already. */
  async until(good: (what: string) => boolean): Promise<void> {
    await new Promise<void>(resolve => {
      this.hear = what => {
        if (good(what)) resolve()
      }
      this.hear('')
    })
    this.hear = () => {}
  }
}

interface Pair {
  readonly socket: Socket
  readonly owner: Owner
  readonly peer: net.Socket
}

/** A connection of a listener, and the peer at its other end. */
async function connected(t: Test): Promise<Pair> {
  const turn = new Turn(setImmediate, error => t.fail(String(error)))
  let accepted = (_: Socket) => {}
  const socket = new Promise<Socket>(resolve => {
    accepted = resolve
  })
  const options = {
    port: 0,
    host: '127.0.0.1',
    backlog: 8,
    noDelay: true,
    keepAlive: true,
    proxies: null,
    enteringTimeoutMs: 5000,
  }
  const owner = new Owner()
  const listener = await listen(
    options,
    { turn, clock: new SystemClock() },
    {
      admits: true,
      entering: () => {},
      accept: socket => {
        accepted(socket)
        return owner
      },
      refused: (_, reason) => t.fail(reason),
      failed: error => t.fail(String(error)),
    },
  )
  const peer = net.connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true })
  await once(peer, 'connect')
  const pair = { socket: await socket, owner, peer }
  pair.socket.attach(pair.owner)
  t.teardown(async () => {
    peer.destroy()
    pair.socket.destroy()
    await listener.close()
  })
  return pair
}

/** All that a peer gets until we end our side. */
async function all(peer: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of peer) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes that differ from their neighbours. */
function pattern(bytes: number): Buffer {
  return Buffer.from(Uint32Array.from({ length: bytes / 4 }, (_, i) => i * 2654435761).buffer)
}

/** More than the kernel keeps for a peer that does not read. */
const flood = 16 * 1024 * 1024

function behaviour(t: Test): void {
  t.test('it knows both of its ends', async t => {
    const { socket, peer } = await connected(t)
    t.match(socket.peer, {
      remoteAddress: '127.0.0.1',
      remotePort: peer.localPort,
      localAddress: '127.0.0.1',
      localPort: peer.remotePort,
    })
  })

  t.test('bytes go both ways, and either side may end first', async t => {
    for (const first of ['peer', 'we']) {
      const { socket, owner, peer } = await connected(t)
      peer.write('ping')
      await owner.until(() => owner.bytes.toString() === 'ping')
      if (first === 'peer') {
        peer.end()
        await owner.until(what => what === 'ended')
      }
      t.ok(socket.write(Buffer.from('po')))
      t.ok(socket.writeAll([Buffer.from('n'), Buffer.from('g')]))
      socket.end()
      t.equal((await all(peer)).toString(), 'pong')
      if (first === 'we') t.strictSame(owner.heard, [], 'our own end is no news')
      peer.end()
      await owner.until(() => owner.heard.includes('closed'))
      t.strictSame(owner.heard, ['ended', 'closed'])
    }
  })

  t.test('bytes that the kernel does not take are kept until it does', async t => {
    const { socket, owner, peer } = await connected(t)
    const bytes = pattern(flood)
    const third = Math.floor(flood / 3)
    t.notOk(socket.write(bytes.subarray(0, third)))
    const received = all(peer)
    await owner.until(what => what === 'drained')
    const rest = [bytes.subarray(third, 2 * third), bytes.subarray(2 * third)]
    if (!socket.writeAll(rest)) await owner.until(what => what === 'drained')
    socket.end()
    t.ok((await received).equals(bytes))
  })

  t.test('what is written right before the end arrives before it', async t => {
    const { socket, peer } = await connected(t)
    const bytes = pattern(flood)
    socket.write(bytes)
    socket.end()
    t.ok((await all(peer)).equals(bytes))
  })

  t.test('while it pauses it hears nothing, not even the end', async t => {
    const { socket, owner, peer } = await connected(t)
    peer.write('first')
    await owner.until(() => owner.bytes.length === 5)
    socket.pause()
    socket.pause()
    peer.end(' second')
    await once(peer, 'finish')
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
    t.equal(owner.bytes.toString(), 'first')
    t.strictSame(owner.heard, [])
    socket.resume()
    socket.resume()
    await owner.until(what => what === 'ended')
    t.equal(owner.bytes.toString(), 'first second')
    socket.resume()
    t.strictSame(owner.heard, ['ended'])
  })

  t.test('a pause from within a read holds at once', async t => {
    const { socket, owner, peer } = await connected(t)
    const bytes = pattern(4 * 1024 * 1024)
    let reads = 0
    owner.hear = what => {
      if (what !== 'received') return
      reads++
      socket.pause()
    }
    peer.write(bytes)
    while (owner.bytes.length < bytes.length) {
      await new Promise(resolve => setImmediate(resolve))
      if (reads > 1) break
      reads = 0
      socket.resume()
    }
    t.ok(reads <= 1)
    t.ok(owner.bytes.equals(bytes))
  })

  t.test('a destroyed socket closes once, and takes no more calls', async t => {
    const { socket, owner, peer } = await connected(t)
    peer.on('error', () => {})
    const gone = once(peer, 'close')
    peer.resume()
    peer.on('end', () => peer.end())
    socket.destroy()
    socket.destroy()
    t.strictSame(owner.heard, [], 'not while it is called')
    socket.write(Buffer.from('late'))
    socket.writeAll([Buffer.from('late')])
    socket.pause()
    socket.resume()
    socket.end()
    await owner.until(what => what === 'closed')
    await gone
    t.strictSame(owner.heard, ['closed'])
    t.equal(peer.bytesRead, 0)
  })

  t.test('a socket destroyed with bytes on their way drops them', async t => {
    const { socket, owner, peer } = await connected(t)
    peer.on('error', () => {})
    t.notOk(socket.write(pattern(flood)))
    let drained = 0
    owner.hear = what => {
      if (what === 'drained') drained++
    }
    socket.destroy()
    while (!owner.heard.includes('closed')) await new Promise(resolve => setImmediate(resolve))
    t.strictSame([owner.heard, drained], [['closed'], 0])
  })

  t.test('a peer that resets closes it', async t => {
    const { owner, peer } = await connected(t)
    peer.write('there')
    await owner.until(() => owner.bytes.length === 5)
    peer.resetAndDestroy()
    await owner.until(() => owner.heard.includes('closed'))
    t.strictSame(owner.heard, ['closed'])
  })

  t.test('writing to a peer that is gone closes it', async t => {
    const { socket, owner, peer } = await connected(t)
    socket.pause()
    peer.resetAndDestroy()
    await once(peer, 'close')
    while (!owner.heard.includes('closed')) {
      socket.write(Buffer.from('anybody there?'))
      await new Promise(resolve => setImmediate(resolve))
    }
    t.strictSame(owner.heard, ['closed'])
  })
  t.end()
}

t.test('a socket on a handle of Node', behaviour)

t.test('a socket on streams, as handles are not known', t => {
  const reachable = process as unknown as { binding: unknown }
  const { binding } = reachable
  reachable.binding = () => {
    throw new Error('no such module')
  }
  t.teardown(() => {
    reachable.binding = binding
  })
  behaviour(t)
})
