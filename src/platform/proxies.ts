/** The proxies that are believed when they say for whom they stand (PROXY protocol). */
import { BlockList, isIP, isIPv6 } from 'node:net'

const mapped = /^::ffff:(?=\d+\.)/i

export class Proxies {
  readonly #sources: BlockList | null

  /** Addresses and networks, such as `10.0.0.1` and `2001:db8::/32`; none means that everybody is believed. */
  constructor(sources: readonly string[]) {
    this.#sources = sources.length === 0 ? null : new BlockList()
    for (const source of sources) {
      const [address = '', prefix] = source.split('/')
      const family = isIPv6(address) ? 'ipv6' : 'ipv4'
      if (prefix === undefined) this.#sources?.addAddress(address, family)
      else this.#sources?.addSubnet(address, Number(prefix), family)
    }
  }

  trusts(address: string): boolean {
    const plain = address.replace(mapped, '')
    return this.#sources?.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4') ?? true
  }
}

/** Whether a text is an address, or a network. */
export function isSource(text: string): boolean {
  const [address = '', prefix, more] = text.split('/')
  const bits = isIP(address) === 6 ? 128 : 32
  const good = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)
  return isIP(address) !== 0 && good && more === undefined
}
