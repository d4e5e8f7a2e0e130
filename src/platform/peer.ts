/** Who is at the other end of a connection, as far as addresses tell. */
import type { ProxyHeader } from './proxy-header.js'

/** Both ends of a connection. */
export interface Ends {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
}

export class Peer implements Ends {
  remoteAddress: string
  remotePort: number
  localAddress: string
  localPort: number
  /** The peer is on this machine, and so is whom it stands for. */
  fromLoopback: boolean

  constructor(ends: Ends) {
    this.remoteAddress = ends.remoteAddress
    this.remotePort = ends.remotePort
    this.localAddress = ends.localAddress
    this.localPort = ends.localPort
    this.fromLoopback = isLoopback(ends.remoteAddress)
  }

  /**
   * The peer is a proxy, which has said for whom it stands. That takes the right to be from this
   * machine away and never gives it, since anybody can write what he likes into a header; RabbitMQ
   * looks only at the proxy's own address, by which every client of a local proxy is local.
   */
  standFor({ ends, local }: ProxyHeader): void {
    if (local) return
    this.fromLoopback &&= ends !== null && isLoopback(ends.remoteAddress)
    if (ends === null) return
    this.remoteAddress = ends.remoteAddress
    this.remotePort = ends.remotePort
    this.localAddress = ends.localAddress
    this.localPort = ends.localPort
  }

  /** A connection is called by its ends. */
  get title(): string {
    return `${this.remoteAddress}:${this.remotePort} -> ${this.localAddress}:${this.localPort}`
  }
}

/** Whether an address is this machine: all of 127/8, also when it is mapped into IPv6. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./i.test(address)
}
