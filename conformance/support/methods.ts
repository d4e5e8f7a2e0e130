import type { Socket } from 'node:net'
import type { Channel, ChannelModel } from 'amqplib'

const id = (classId: number, methodId: number): number => classId * 65_536 + methodId

/** The methods amqplib encodes but offers no call, or no option, for. */
const METHODS = {
  channelOpen: [id(20, 10), id(20, 11)],
  channelFlow: [id(20, 20), id(20, 21)],
  accessRequest: [id(30, 10), id(30, 11)],
  exchangeDeclare: [id(40, 10), id(40, 11)],
  exchangeDelete: [id(40, 20), id(40, 21)],
  exchangeBind: [id(40, 30), id(40, 31)],
  exchangeUnbind: [id(40, 40), id(40, 51)],
  queueDeclare: [id(50, 10), id(50, 11)],
  queueBind: [id(50, 20), id(50, 21)],
  queuePurge: [id(50, 30), id(50, 31)],
  queueDelete: [id(50, 40), id(50, 41)],
  basicQos: [id(60, 10), id(60, 11)],
  basicConsume: [id(60, 20), id(60, 21)],
  basicCancel: [id(60, 30), id(60, 31)],
  basicAck: [id(60, 80), 0],
  basicNack: [id(60, 120), 0],
  basicReject: [id(60, 90), 0],
  basicRecoverAsync: [id(60, 100), 0],
  basicRecover: [id(60, 110), id(60, 111)],
  confirmSelect: [id(85, 10), id(85, 11)],
  txSelect: [id(90, 10), id(90, 11)],
  txCommit: [id(90, 20), id(90, 21)],
  txRollback: [id(90, 30), id(90, 31)],
} as const

export type MethodName = keyof typeof METHODS
export type Fields = Readonly<Record<string, unknown>>

interface ChannelInternals {
  readonly ch: number
  rpc(method: number, fields: Fields, expected: number): Promise<Fields>
  sendImmediately(method: number, fields: Fields): void
  sendMessage(fields: Fields, properties: Fields, content: Buffer): void
}

export interface ConnectionInternals {
  channelMax: number
  readonly frameMax: number
  readonly heartbeat: number
  readonly stream: Socket
}

const internals = (channel: Channel): ChannelInternals => channel as unknown as ChannelInternals

export const connectionInternals = (connection: ChannelModel): ConnectionInternals =>
  connection.connection as unknown as ConnectionInternals

/** Sends a method and waits for its -ok. */
export function call(channel: Channel, method: MethodName, fields: Fields = {}): Promise<Fields> {
  const [request, reply] = METHODS[method]
  return internals(channel).rpc(request, fields, reply)
}

/** Sends a method for which no answer is due. */
export function tell(channel: Channel, method: MethodName, fields: Fields = {}): void {
  internals(channel).sendImmediately(METHODS[method][0], fields)
}

/** Publishes with exactly these method fields and properties. */
export function publishExactly(
  channel: Channel,
  fields: Fields,
  properties: Fields,
  body: Buffer | string,
): void {
  const content = typeof body === 'string' ? Buffer.from(body) : body
  internals(channel).sendMessage({ exchange: '', mandatory: false, ...fields }, properties, content)
}

/** Settles a delivery tag, outstanding or not. */
export const ackTag = (channel: Channel, deliveryTag: number, multiple = false): void =>
  tell(channel, 'basicAck', { deliveryTag, multiple })

export const nackTag = (
  channel: Channel,
  deliveryTag: number,
  { multiple = false, requeue = true } = {},
): void => tell(channel, 'basicNack', { deliveryTag, multiple, requeue })

export const rejectTag = (channel: Channel, deliveryTag: number, requeue = true): void =>
  tell(channel, 'basicReject', { deliveryTag, requeue })

export const channelNumber = (channel: Channel): number => internals(channel).ch
