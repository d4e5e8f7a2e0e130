import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { Broker } from './broker.js'
import { eventually } from './waiting.js'

/** connection.close-ok as it stands on the wire: a method frame on channel 0 without arguments. */
const CLOSE_OK = Buffer.from('0100000000000400' + '0a0033ce', 'hex')

/** Stands between a client and the broker, sees how they part, and can part them. */
export interface TcpProxy {
  /** What the client connects to instead of the broker's own URL. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Every connection that was ever accepted, in order. */
  readonly links: readonly Link[]
  /** Resets all connections at both ends, as a cable pulled out would in the end. */
  sever(): void
  /** While true, new connections are reset at once. */
  down: boolean
  /** Waits until the given connection, or the latest, is over, and tells how it went. */
  parting(link?: Link): Promise<Parting>
}

/** How a connection ended. */
export interface Parting {
  /** The last bytes the client was sent are a connection.close-ok. */
  readonly serverSaidCloseOk: boolean
  /** The last bytes the broker was sent are a connection.close-ok. */
  readonly clientSaidCloseOk: boolean
}

/** One connection through the proxy. */
class Link {
  #fromClient: Buffer = Buffer.alloc(0)
  #fromServer: Buffer = Buffer.alloc(0)
  readonly #client: Socket
  readonly #server: Socket

  constructor(client: Socket, server: Socket) {
    this.#client = client
    this.#server = server
    client.on('data', bytes => {
      this.#fromClient = tail(this.#fromClient, bytes)
    })
    server.on('data', bytes => {
      this.#fromServer = tail(this.#fromServer, bytes)
    })
    client.pipe(server)
    server.pipe(client)
    client.on('error', () => server.destroy())
    server.on('error', () => client.destroy())
  }

  get over(): boolean {
    return this.#client.closed && this.#server.closed
  }

  get parting(): Parting {
    return {
      serverSaidCloseOk: this.#fromServer.equals(CLOSE_OK),
      clientSaidCloseOk: this.#fromClient.equals(CLOSE_OK),
    }
  }

  reset(): void {
    reset(this.#client)
    reset(this.#server)
  }
}

/** Opens a proxy to the broker; it closes with the test. */
export async function openTcpProxy(t: Test, broker: Broker): Promise<TcpProxy> {
  const links: Link[] = []
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, client => {
    if (proxy.down) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const server = connect({ host: broker.host, port: broker.port, allowHalfOpen: true })
    server.setNoDelay()
    links.push(new Link(client, server))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const url = new URL(broker.url)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  const proxy: TcpProxy = {
    url: url.href,
    host: '127.0.0.1',
    port,
    links,
    down: false,
    sever() {
      for (const link of links) link.reset()
    },
    async parting(link = links.at(-1)) {
      if (link === undefined) throw new Error('nobody has connected through the proxy')
      await eventually('the connection through the proxy is over', () => link.over)
      return link.parting
    },
  }
  t.teardown(() => {
    proxy.down = true
    proxy.sever()
    listener.close()
  })
  return proxy
}

/** Sends RST, but not in the middle of a FIN: Node then refuses the reset and never closes the socket. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** The last bytes of a stream, as many as a close-ok has. */
function tail(before: Buffer, bytes: Buffer): Buffer {
  return Buffer.concat([before, bytes]).subarray(-CLOSE_OK.length)
}
