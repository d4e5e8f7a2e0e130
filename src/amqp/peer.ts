/** What an address and the first bytes tell about who is at the other end. */

/** Whether an address is this machine: all of 127/8, also when it is mapped into IPv6. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./i.test(address)
}

/** What a peer that speaks something else than AMQP probably is, to be put behind a log line. */
export function hint(header: Buffer): string {
  if (/^(GET|POST|PUT|HEAD|OPTIO)/.test(header.toString('latin1'))) return ' (an HTTP client?)'
  return header[0] === 0x16 && header[1] === 0x03 ? ' (a TLS client?)' : ''
}
