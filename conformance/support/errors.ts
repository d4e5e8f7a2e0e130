import type { EventEmitter } from 'node:events'
import type { Channel, ChannelModel } from 'amqplib'
import { patiently } from './waiting.js'

/** What a channel.close said. */
export interface ChannelError {
  readonly code: number
  readonly text: string
  readonly classId: number
  readonly methodId: number
}

/** What a connection.close said; amqplib keeps no class and method. */
export interface ConnectionError {
  readonly code: number
  readonly text: string
}

interface CloseError extends Error {
  readonly code: number
  readonly classId?: number
  readonly methodId?: number
}

/** The channel.close that answers what was just done, whether or not it has a reply of its own. */
export async function expectChannelError(
  channel: Channel,
  action?: Promise<unknown>,
): Promise<ChannelError> {
  const error = await closeOf(channel, action, 'a channel error')
  const { code, classId = 0, methodId = 0 } = error
  return { code, text: replyText(error), classId, methodId }
}

/** The connection.close that answers what was just done. */
export async function expectConnectionError(
  connection: ChannelModel,
  action?: Promise<unknown>,
): Promise<ConnectionError> {
  const error = await closeOf(connection, action, 'a connection error')
  return { code: error.code, text: replyText(error) }
}

/** The close an emitter reports: by `error`, or for 320 only with `close`. */
function closeOf(
  emitter: EventEmitter,
  action: Promise<unknown> | undefined,
  awaited: string,
): Promise<CloseError> {
  const closed = new Promise<CloseError>((resolve, reject) => {
    emitter.once('error', resolve)
    emitter.once('close', (reason?: CloseError) => {
      if (reason?.code === undefined) reject(new Error(`closed without ${awaited}: ${reason}`))
      else resolve(reason)
    })
    action?.then(
      () => reject(new Error(`succeeded instead of ${awaited}`)),
      () => {},
    )
  })
  return patiently(closed, awaited)
}

function replyText(error: Error): string {
  return / with message "(.*)"$/s.exec(error.message)?.[1] ?? error.message
}
