/** From a refusal to the close that tells it: code, text, and the method that failed. */
import { encodeMethodFrame } from '../wire/codec.js'
import { AmqpError, cutReplyText, replies } from '../wire/replies.js'

/** What went wrong as an AmqpError: anything that is none is a fault of ours, whose text is not for clients. */
export function asAmqpError(error: unknown): AmqpError {
  return error instanceof AmqpError ? error : new AmqpError('INTERNAL_ERROR', 'unexpected error')
}

/** The frame of channel.close, or on channel 0 of connection.close. `methodId` is 0 when no method is to blame. */
export function closeFrame(channel: number, error: AmqpError, methodId: number): Buffer {
  return encodeMethodFrame(channel, channel === 0 ? 'connection.close' : 'channel.close', {
    replyCode: replies[error.reply].code,
    replyText: cutReplyText(error.message),
    classId: methodId >>> 16,
    methodId: methodId & 0xffff,
  })
}

/** Whether an error costs no more than the channel. */
export function isSoft(error: unknown): boolean {
  return error instanceof AmqpError && replies[error.reply].closes === 'channel'
}
