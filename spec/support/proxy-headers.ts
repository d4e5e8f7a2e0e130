/** Headers of the PROXY protocol as a proxy writes them. */
import type { Ends } from '../../src/platform/peer.js'

export type { Ends }

export const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** Version 1. */
export function proxyLine({ remoteAddress, localAddress, remotePort, localPort }: Ends): string {
  const family = remoteAddress.includes(':') ? 'TCP6' : 'TCP4'
  return `PROXY ${family} ${remoteAddress} ${localAddress} ${remotePort} ${localPort}\r\n`
}

export interface OctetsOptions {
  readonly command?: number
  readonly family?: number
  readonly tlvs?: Buffer
}

/** Version 2. */
export function proxyOctets(ends: Ends, options: OctetsOptions = {}): Buffer {
  const { remoteAddress, localAddress, remotePort, localPort } = ends
  const standard = remoteAddress.includes(':') ? 0x21 : 0x11
  const { command = 1, family = standard, tlvs = Buffer.alloc(0) } = options
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(remotePort, 0)
  ports.writeUInt16BE(localPort, 2)
  const body = Buffer.concat([octetsOf(remoteAddress), octetsOf(localAddress), ports, tlvs])
  const fixed = Buffer.of(0x20 | command, family, body.length >>> 8, body.length & 0xff)
  return Buffer.concat([signature, fixed, body])
}

/** The octets of an address; one of IPv6 with all of its groups, or `::`. */
function octetsOf(address: string): Buffer {
  if (address === '::') return Buffer.alloc(16)
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number))
  return Buffer.from(
    address.split(':').flatMap(group => {
      const value = Number.parseInt(group, 16)
      return [value >>> 8, value & 0xff]
    }),
  )
}
