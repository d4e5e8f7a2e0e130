/** The first eight octets of a connection, by which a client says that it speaks AMQP, and which. */

/** The one header that is understood, and what is answered to any other. */
export const protocolHeader = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1')

/** The header of the draft of 0-9, which RabbitMQ takes for the same. */
const draftHeader = Buffer.from('AMQP\x01\x01\x00\x09', 'latin1')

const nothing = Buffer.alloc(0)

/** A header while it comes, in whatever pieces. */
export class ProtocolHeader {
  octets = nothing

  /** Takes bytes, and returns how many of them are the header's. */
  take(bytes: Buffer): number {
    const taken = Math.min(bytes.length, protocolHeader.length - this.octets.length)
    this.octets = Buffer.concat([this.octets, bytes.subarray(0, taken)])
    return taken
  }

  get complete(): boolean {
    return this.octets.length === protocolHeader.length
  }

  get understood(): boolean {
    return this.octets.equals(protocolHeader) || this.octets.equals(draftHeader)
  }
}
