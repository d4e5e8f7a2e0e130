import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, connect as dial, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { Broker } from './broker.js'

/** One frame as it went over the wire. */
export interface Frame {
  readonly type: number
  readonly channel: number
  readonly payload: Buffer
}

export const METHOD = 1
export const HEADER = 2
export const BODY = 3
export const HEARTBEAT = 8

/** A wire tap between one client and the broker: shows what amqplib does not. */
export interface Relay {
  readonly host: string
  readonly port: number
  /** All bytes the broker has sent. */
  fromBroker(): Buffer
  /** Whole frames the broker has sent. */
  framesFromBroker(): Frame[]
  /** Whole frames the client has sent. */
  framesFromClient(): Frame[]
}

/** Listens for one client at a time and passes everything on to the broker. */
export async function openRelay(t: Test, broker: Broker): Promise<Relay> {
  const sent: Buffer[] = []
  const received: Buffer[] = []
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const upstream = dial(broker.port, broker.host)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    client.on('data', chunk => sent.push(chunk))
    upstream.on('data', chunk => received.push(chunk))
    client.pipe(upstream)
    upstream.pipe(client)
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    fromBroker: () => Buffer.concat(received),
    framesFromBroker: () => frames(Buffer.concat(received)),
    framesFromClient: () => frames(Buffer.concat(sent).subarray(8)),
  }
}

function frames(bytes: Buffer): Frame[] {
  const found: Frame[] = []
  for (let at = 0; at + 7 <= bytes.length; ) {
    const end = at + 7 + bytes.readUInt32BE(at + 3)
    if (end + 1 > bytes.length) break
    found.push({
      type: bytes.readUInt8(at),
      channel: bytes.readUInt16BE(at + 1),
      payload: bytes.subarray(at + 7, end),
    })
    at = end + 1
  }
  return found
}

/** Whether the frame is this method. */
export const isMethod = (frame: Frame, classId: number, methodId: number): boolean =>
  frame.type === METHOD &&
  frame.payload.readUInt16BE(0) === classId &&
  frame.payload.readUInt16BE(2) === methodId

/** A frame made by hand. */
export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([0xce])])
}
