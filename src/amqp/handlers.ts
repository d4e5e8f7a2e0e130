/** The handlers of all methods that a client may send on a channel, by name; one file for each class of AMQP. */
import type { Arguments, MethodName } from '../wire/methods.js'
import { basicHandlers } from './basic.js'
import type { Channel } from './channel.js'
import { exchangeHandlers } from './exchange.js'
import { accessHandlers, channelHandlers, confirmHandlers, txHandlers } from './modes.js'
import { queueHandlers } from './queue.js'

/** Carries a method out, and answers it. Throws AmqpError. */
export type Handlers = {
  readonly [M in MethodName]?: (channel: Channel, args: Arguments<M>) => void
}

export const handlers: Handlers = {
  ...channelHandlers,
  ...accessHandlers,
  ...exchangeHandlers,
  ...queueHandlers,
  ...basicHandlers,
  ...confirmHandlers,
  ...txHandlers,
}
