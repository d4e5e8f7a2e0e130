// The replies of AMQP: their names, their codes, and what each one closes.
// Everything that refuses a client throws an AmqpError; amqp/ turns it into channel.close or connection.close.

/** Every reply by name: its code, and whether it ends the channel or the whole connection. */
export const replies = {
  CONTENT_TOO_LARGE: { code: 311, closes: 'channel' },
  NO_ROUTE: { code: 312, closes: 'channel' },
  NO_CONSUMERS: { code: 313, closes: 'channel' },
  CONNECTION_FORCED: { code: 320, closes: 'connection' },
  INVALID_PATH: { code: 402, closes: 'connection' },
  ACCESS_REFUSED: { code: 403, closes: 'channel' },
  NOT_FOUND: { code: 404, closes: 'channel' },
  RESOURCE_LOCKED: { code: 405, closes: 'channel' },
  PRECONDITION_FAILED: { code: 406, closes: 'channel' },
  FRAME_ERROR: { code: 501, closes: 'connection' },
  SYNTAX_ERROR: { code: 502, closes: 'connection' },
  COMMAND_INVALID: { code: 503, closes: 'connection' },
  CHANNEL_ERROR: { code: 504, closes: 'connection' },
  UNEXPECTED_FRAME: { code: 505, closes: 'connection' },
  RESOURCE_ERROR: { code: 506, closes: 'connection' },
  NOT_ALLOWED: { code: 530, closes: 'connection' },
  NOT_IMPLEMENTED: { code: 540, closes: 'connection' },
  INTERNAL_ERROR: { code: 541, closes: 'connection' },
} as const satisfies Record<string, { code: number; closes: 'channel' | 'connection' }>

/** The name of a reply, as it stands at the start of every reply text. */
export type ReplyName = keyof typeof replies

/** Refuses what a client asked; its reply says which close the client earns. */
export class AmqpError extends Error {
  readonly reply: ReplyName
  /** The method that the close names where it is not the one in progress; 0 for none. */
  readonly methodId: number | undefined

  constructor(reply: ReplyName, explanation: string, methodId?: number) {
    super(`${reply} - ${explanation}`)
    this.name = 'AmqpError'
    this.reply = reply
    this.methodId = methodId
  }
}

const maxReplyTextBytes = 255
const ellipsis = '...'

/** Cuts a reply text to the 255 bytes of a shortstr, between characters, ending in "..." as RabbitMQ's does. */
export function cutReplyText(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxReplyTextBytes) return text
  let end = maxReplyTextBytes - ellipsis.length
  while (isContinuation(bytes.readUInt8(end))) end--
  return bytes.toString('utf8', 0, end) + ellipsis
}

function isContinuation(octet: number): boolean {
  return (octet & 0xc0) === 0x80
}
