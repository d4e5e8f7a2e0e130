/** Where the node listens, by its settings: TCP, TLS and WebSockets, each at any number of places. */
import type { Listener } from '../amqp/listener.js'
import { Proxies } from '../platform/proxies.js'
import { listen, type SocketListener } from '../platform/sockets.js'
import type { StreamListener, TlsOptions } from '../platform/stream-listener.js'
import type { World } from '../platform/world.js'
import { bracketed, type Endpoint } from './setting-kinds.js'
import type { Settings } from './settings-table.js'

/** What is spoken, by the names of RabbitMQ's management API. */
export type Protocol = 'amqp' | 'amqp/ssl' | 'http/web-amqp' | 'https/web-amqp' | 'http'

/** A place where clients connect. */
export interface Listening {
  readonly protocol: Protocol
  readonly host: string
  readonly port: number
}

/** What stands in front of a place, for people and in URLs. */
const names: Readonly<Record<Protocol, { readonly shown: string; readonly scheme: string }>> = {
  amqp: { shown: 'TCP', scheme: 'amqp' },
  'amqp/ssl': { shown: 'TLS (SSL)', scheme: 'amqps' },
  'http/web-amqp': { shown: 'WebSocket', scheme: 'ws' },
  'https/web-amqp': { shown: 'WebSocket (TLS)', scheme: 'wss' },
  http: { shown: 'HTTP', scheme: 'http' },
}

/** For people: `TCP listener on [::]:5672`. */
export function listeningText({ protocol, host, port }: Listening): string {
  return `${names[protocol].shown} listener on ${bracketed(host)}:${port}`
}

/** What a client connects to; all interfaces are reached by loopback. */
export function listeningUrl({ protocol, host, port }: Listening, credentials = ''): string {
  const everywhere = host === '::' || host === '0.0.0.0'
  const { scheme } = names[protocol]
  const user = scheme.startsWith('amqp') ? credentials : ''
  return `${scheme}://${user}${everywhere ? '127.0.0.1' : bracketed(host)}:${port}`
}

export class Listeners {
  readonly #settings: Settings
  readonly #world: World
  readonly #ofTls: StreamListener[] = []
  readonly all: Listening[] = []

  constructor(settings: Settings, world: World) {
    this.#settings = settings
    this.#world = world
  }

  /** Begins to listen; rejects with a SettingsError or the system's error. */
  async open(listener: Listener): Promise<void> {
    const settings = this.#settings
    const tls = this.#hasTls ? await this.#readTlsFiles() : null
    const webSocket = {
      allowOrigins: settings['web_amqp.allow_origins'],
      messageBytesMax: webSocketMessageMax(settings.max_message_size),
    }
    const places: readonly [Protocol, readonly Endpoint[], TlsOptions | null][] = [
      ['amqp', settings['listeners.tcp.default'], null],
      ['amqp/ssl', settings['listeners.ssl.default'], tls],
      ['http/web-amqp', settings['web_amqp.tcp.port'], null],
      ['https/web-amqp', settings['web_amqp.ssl.port'], tls],
    ]
    for (const [protocol, endpoints, tls] of places)
      for (const endpoint of endpoints) {
        const web = protocol.endsWith('web-amqp') ? webSocket : null
        const { host, port } = await this.#listen(endpoint, options =>
          listener.open<SocketListener>(async acceptor => {
            if (web === null && tls === null) return listen(options, this.#world, acceptor)
            // Loaded only here: TLS and WebSockets take 11 MiB, as much as a sixth of an idle broker.
            const { listenForStreams } = await import('../platform/stream-listener.js')
            const streams = { ...options, tls, webSocket: web }
            const listening = await listenForStreams(streams, this.#world, acceptor)
            if (tls !== null) this.#ofTls.push(listening)
            return listening
          }),
        )
        this.all.push({ protocol, host, port })
      }
  }

  /** Reads certificates and keys anew, for handshakes to come. Rejects with a SettingsError, and all is as it was. */
  async renewCertificates(): Promise<void> {
    if (!this.#hasTls) return
    const tls = await this.#readTlsFiles()
    for (const listening of this.#ofTls) listening.renew(tls)
  }

  async #readTlsFiles(): Promise<TlsOptions> {
    const { readTlsFiles } = await import('./tls-files.js')
    return readTlsFiles(this.#settings)
  }

  get #hasTls(): boolean {
    const { 'listeners.ssl.default': amqps, 'web_amqp.ssl.port': wss } = this.#settings
    return amqps.length + wss.length > 0
  }

  async #listen(
    { host, port }: Endpoint,
    open: (options: Parameters<typeof listen>[0]) => Promise<SocketListener>,
  ): Promise<SocketListener> {
    const settings = this.#settings
    const options = {
      port,
      host: host ?? settings['listeners.tcp.ip'],
      backlog: settings['tcp_listen_options.backlog'],
      noDelay: settings['tcp_listen_options.nodelay'],
      keepAlive: settings['tcp_listen_options.keepalive'],
      proxies: settings.proxy_protocol
        ? new Proxies(settings.proxy_protocol_trusted_sources)
        : null,
      enteringTimeoutMs: settings.ssl_handshake_timeout,
    }
    try {
      return await open(options)
    } catch (error) {
      // A machine without IPv6 has all its interfaces at 0.0.0.0.
      if (options.host !== '::' || (error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT')
        throw error
      return await open({ ...options, host: '0.0.0.0' })
    }
  }
}

/** A message of a WebSocket that holds a whole publish: the body in the smallest frames, and what stands around it. */
function webSocketMessageMax(bodyBytes: number): number {
  return Math.ceil(bodyBytes * 1.01) + 1024 * 1024
}
