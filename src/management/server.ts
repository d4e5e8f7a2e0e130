/** Where the management API listens: an HTTP server that loads the application with the first request. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Broker } from '../broker/broker.js'
import type { NodeFacts } from './overview.js'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

export class ManagementServer {
  readonly #broker: Broker
  readonly #facts: NodeFacts
  readonly #server: Server
  #handler: Promise<Handler> | null = null

  constructor(broker: Broker, facts: NodeFacts) {
    this.#broker = broker
    this.#facts = facts
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  /** Resolves with where it listens; rejects with the system's error. */
  async open(port: number, host: string): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return this.#server.address() as AddressInfo
  }

  /** Resolves when no connection is left. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#handler ??= this.#load()
    try {
      const handler = await this.#handler
      handler(request, response)
    } catch (error) {
      this.#handler = null
      this.#broker.world.log.error({ err: error }, 'the management API cannot be loaded')
      response.writeHead(500).end()
    }
  }

  async #load(): Promise<Handler> {
    const { application } = await import('./application.js')
    const { routesOf } = await import('./routes.js')
    const { routing } = await application(this.#broker, routesOf(this.#broker, this.#facts))
    return routing
  }
}
