/** The small classes of methods: channel, access, confirm and tx. */
import { AmqpError } from '../wire/replies.js'
import type { Channel } from './channel.js'
import type { Handlers } from './handlers.js'
import type { Transaction } from './transaction.js'

export const channelHandlers: Handlers = {
  'channel.open': () => {
    throw new AmqpError('CHANNEL_ERROR', "second 'channel.open' seen")
  },

  'channel.flow': (channel, { active }) => {
    if (!active) throw new AmqpError('NOT_IMPLEMENTED', 'active=false')
    channel.send('channel.flow-ok', { active })
  },

  'channel.close': channel => {
    channel.close(() => {
      channel.send('channel.close-ok', {})
      channel.connection.forget(channel)
    }, true)
  },
}

export const accessHandlers: Handlers = {
  'access.request': channel => channel.send('access.request-ok', { ticket: 1 }),
}

export const confirmHandlers: Handlers = {
  'confirm.select': (channel, { nowait }) => {
    channel.selectConfirms()
    if (!nowait) channel.send('confirm.select-ok', {})
  },
}

export const txHandlers: Handlers = {
  'tx.select': channel => {
    channel.selectTransaction()
    channel.send('tx.select-ok', {})
  },

  'tx.commit': channel => {
    transactionOf(channel).commit(() => channel.send('tx.commit-ok', {}))
  },

  'tx.rollback': channel => {
    transactionOf(channel).rollback()
    channel.send('tx.rollback-ok', {})
  },
}

function transactionOf(channel: Channel): Transaction {
  if (channel.transaction === null)
    throw new AmqpError('PRECONDITION_FAILED', 'channel is not transactional')
  return channel.transaction
}
