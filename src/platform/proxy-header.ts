/**
 * The header of the PROXY protocol, by which a proxy in front of the broker says for whom it
 * stands (haproxy.org/download/2.9/doc/proxy-protocol.txt). Version 1 is a line of text:
 *
 *     PROXY TCP4 192.0.2.1 192.0.2.9 50000 5672\r\n
 *
 * and version 2 is bytes; what follows the addresses in it (TLVs) is passed over:
 *
 *      0             12        13       14        16
 *     +-------------+---------+--------+---------+-----------+------+
 *     |  signature  | version | family | length  | addresses | TLVs |
 *     |             | command |        |         |           |      |
 *     +-------------+---------+--------+---------+-----------+------+
 *       12 octets       u8        u8       u16        `length` octets
 */
import { isIPv4, isIPv6 } from 'node:net'
import type { Ends } from './peer.js'

/** Bytes that are no such header. */
export class ProxyHeaderError extends Error {
  override name = 'ProxyHeaderError'
}

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const firstWord = Buffer.from('PROXY', 'latin1')

/** The longest line of version 1, its end included. */
const lineMax = 107

/** What stands in front of the addresses of version 2, and the longest addresses that are looked at. */
const fixedBytes = 16
const addressesMax = 36

const commandLocal = 0
const commandProxy = 1
const tcp4 = 0x11
const tcp6 = 0x21

/** Reads a header from the first bytes of a connection, in whatever pieces they come. */
export class ProxyHeader {
  /** All of it has come. */
  complete = false
  /** Whom the proxy stands for; null if it does not say, or speaks for itself. */
  ends: Ends | null = null
  /** The proxy connects for itself, for example to see whether we are here. */
  local = false
  readonly #head = Buffer.alloc(lineMax)
  #filled = 0
  /** Octets to be passed over: the end of version 2. */
  #skip = -1

  /** Takes bytes[0..length) and returns how many of them are the header's. Throws ProxyHeaderError. */
  read(bytes: Buffer, length: number): number {
    let at = 0
    while (at < length && this.#skip < 0 && !this.complete) {
      this.#head[this.#filled++] = bytes[at++] as number
      this.#look()
    }
    if (this.#skip > 0 && at < length) {
      const skipped = Math.min(this.#skip, length - at)
      this.#skip -= skipped
      at += skipped
    }
    if (this.#skip === 0) this.complete = true
    return at
  }

  /** One more octet stands in the head. */
  #look(): void {
    const filled = this.#filled
    const head = this.#head
    const last = head[filled - 1]
    const isLine = head[0] === firstWord[0]
    const prefix = isLine ? firstWord : signature
    if (filled <= prefix.length) {
      if (last !== prefix[filled - 1]) throw new ProxyHeaderError('not a PROXY header')
    } else if (isLine) {
      if (last === 0x0a) this.#readLine(head.toString('latin1', 0, filled))
      else if (filled === lineMax) throw new ProxyHeaderError('the line has no end')
    } else if (filled >= fixedBytes) {
      const length = head.readUInt16BE(14)
      const addresses = Math.min(length, addressesMax)
      if (filled < fixedBytes + addresses) return
      this.#readBytes(length)
      this.#skip = length - addresses
    }
  }

  #readLine(line: string): void {
    this.complete = true
    if (/^PROXY UNKNOWN( .*)?\r\n$/.test(line)) return
    const fields = /^PROXY (TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5})\r\n$/.exec(line)
    if (fields === null) throw new ProxyHeaderError('the line is malformed')
    const [, family, source = '', destination = '', from, to] = fields
    const isAddress = family === 'TCP4' ? isIPv4 : isIPv6
    const [remotePort, localPort] = [Number(from), Number(to)]
    if (!isAddress(source) || !isAddress(destination) || Math.max(remotePort, localPort) > 0xffff)
      throw new ProxyHeaderError('the line has no good addresses')
    this.ends = { remoteAddress: source, remotePort, localAddress: destination, localPort }
  }

  #readBytes(length: number): void {
    const head = this.#head
    const [version, family] = [head.readUInt8(12), head.readUInt8(13)]
    const command = version & 0x0f
    if (version >>> 4 !== 2) throw new ProxyHeaderError(`version ${version >>> 4} is not known`)
    if (command === commandLocal) {
      this.local = true
      return
    }
    if (command !== commandProxy) throw new ProxyHeaderError(`command ${command} is not known`)
    // Whatever else a proxy may take connections by, its addresses are none that could be shown.
    if (family !== tcp4 && family !== tcp6) return
    const bytes = family === tcp4 ? 4 : 16
    if (length < 2 * bytes + 4) throw new ProxyHeaderError('it is too short for its addresses')
    const ports = fixedBytes + 2 * bytes
    this.ends = {
      remoteAddress: addressText(head.subarray(fixedBytes, fixedBytes + bytes)),
      remotePort: head.readUInt16BE(ports),
      localAddress: addressText(head.subarray(fixedBytes + bytes, ports)),
      localPort: head.readUInt16BE(ports + 2),
    }
  }
}

/** In front of an IPv4 address that is mapped into IPv6. */
const mapped = Buffer.from('00000000000000000000ffff', 'hex')

function addressText(octets: Buffer): string {
  if (octets.length === 4) return octets.join('.')
  if (octets.subarray(0, 12).equals(mapped)) return `::ffff:${octets.subarray(12).join('.')}`
  const groups = Array.from({ length: 8 }, (_, i) => octets.readUInt16BE(2 * i).toString(16))
  // The usual short form, by way of the one parser of addresses that is at hand.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
