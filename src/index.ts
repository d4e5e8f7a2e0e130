/** What a broker started inside a Node program is told; everything else has the default of config/leveret.yaml. */
export interface BrokerOptions {
  /** Port for AMQP; 0 (the default here) lets the system choose a free one. */
  readonly port?: number
  /** Address to listen on; loopback unless told otherwise. */
  readonly host?: string
  /** Any setting of config/leveret.yaml by its dotted name, for example `{ heartbeat: 10 }`. */
  readonly settings?: Readonly<Record<string, unknown>>
}

/** A broker that runs in this process. */
export interface RunningBroker {
  /** What a client connects to: amqp://guest:guest@127.0.0.1:PORT */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Closes clients with 320, then the listener; resolves when no handle is left open. */
  close(): Promise<void>
}

/** Starts a broker in this process, in memory and on loopback. */
export function startBroker(_options: BrokerOptions = {}): Promise<RunningBroker> {
  return Promise.reject(new Error('the broker is being written'))
}
