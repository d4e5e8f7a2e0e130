/**
 * Sender-selected distribution: further routing keys in the headers CC and BCC, of which BCC is
 * taken out before anybody sees the message.
 */
import { type FieldTable, lookup, typeNames } from '../wire/field-table.js'
import { AmqpError } from '../wire/replies.js'

const capitalC = 0x43

/** Whether headers (their octets on the wire) can contain CC or BCC; quick, and wrong only by saying yes. */
export function mayHaveSenderSelected(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start + 1; at < end; at++)
    if (bytes[at] === capitalC && bytes[at - 1] === capitalC) return true
  return false
}

/** The keys in CC and BCC. A header that is no array is refused (406); other things than strings in it are passed over. */
export function senderSelectedKeys(headers: FieldTable): string[] {
  return ['CC', 'BCC'].flatMap(name => {
    const value = lookup(headers, name)
    if (value === undefined) return []
    if (value.type !== 'A')
      throw new AmqpError(
        'PRECONDITION_FAILED',
        `invalid message: {unacceptable_type_in_header,"${name}",${typeNames[value.type]}}`,
      )
    return value.value.flatMap(key => (key.type === 'S' ? [key.value.toString()] : []))
  })
}

/** The headers without BCC: sorted and each key once, as RabbitMQ leaves them. */
export function withoutBcc(headers: FieldTable): FieldTable {
  return headers
    .filter(({ key }, place) => key !== 'BCC' && headers.findIndex(f => f.key === key) === place)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}
