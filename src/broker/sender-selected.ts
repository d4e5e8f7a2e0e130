/**
 * Sender-selected distribution: further routing keys in the headers CC and BCC, of which BCC is
 * taken out before anybody sees the message.
 */
import { type FieldTable, lookup, typeNames } from '../wire/field-table.js'
import { type Message, rebuild } from '../wire/message.js'
import { decodeProperties, withHeaders } from '../wire/properties.js'
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
  return [...keysIn(headers, 'CC'), ...keysIn(headers, 'BCC')]
}

/** The keys in one of the two headers. */
export function keysIn(headers: FieldTable, name: 'CC' | 'BCC'): string[] {
  const value = lookup(headers, name)
  if (value === undefined) return []
  if (value.type !== 'A')
    throw new AmqpError(
      'PRECONDITION_FAILED',
      `invalid message: {unacceptable_type_in_header,"${name}",${typeNames[value.type]}}`,
    )
  return value.value.flatMap(key => (key.type === 'S' ? [key.value.toString()] : []))
}

/** Takes BCC out of a message, which then stands in memory of its own. False: it has none. */
export function dropBcc(message: Message): boolean {
  const { bytes, propertiesStart, propertiesEnd } = message
  const octets = Buffer.from(bytes.subarray(propertiesStart, propertiesEnd))
  const { headers = [] } = decodeProperties(octets, 0, octets.length)
  if (lookup(headers, 'BCC') === undefined) return false
  rebuild(message, withHeaders(octets, withoutBcc(headers)))
  return true
}

/** The headers without BCC: sorted and each key once, as RabbitMQ leaves them. */
export function withoutBcc(headers: FieldTable): FieldTable {
  const kept = new Map<string, FieldTable[number]>()
  for (const field of headers)
    if (field.key !== 'BCC' && !kept.has(field.key)) kept.set(field.key, field)
  return [...kept.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
}
