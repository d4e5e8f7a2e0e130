// What a RabbitMQ 3.10.8 sent to a raw socket that logged in as guest, declared, bound, published, consumed and settled:
// one frame of each method a server sends (but secure, flow, blocked and unblocked), as hex, with what it says.
// connection.close answers a queue.declare of which only two octets followed the id.

import { fieldTable } from '../../src/wire/field-table.js'
import type { Method } from '../../src/wire/methods.js'

/** A method frame as it was received. */
export interface RecordedFrame {
  readonly channel: number
  readonly method: Method
  readonly hex: string
}

const start =
  '010000000001f3000a000a0009000001ce0c6361706162696c697469657346000000c7127075626c69736865725f636f6e6669726d7374011a65786368616e67655f65786368616e67655f62696e64696e677374010a62617369632e6e61636b740116636f6e73756d65725f63616e63656c5f6e6f74696679740112636f6e6e656374696f6e2e626c6f636b6564740113636f6e73756d65725f7072696f72697469657374011c61757468656e7469636174696f6e5f6661696c7572655f636c6f73657401107065725f636f6e73756d65725f716f7374010f6469726563745f7265706c795f746f74010c636c75737465725f6e616d65530000000c62656e63683536383040766d09636f707972696768745300000037436f707972696768742028632920323030372d3230323220564d776172652c20496e632e206f722069747320616666696c69617465732e0b696e666f726d6174696f6e53000000394c6963656e73656420756e64657220746865204d504c20322e302e20576562736974653a2068747470733a2f2f7261626269746d712e636f6d08706c6174666f726d530000001145726c616e672f4f54502032352e322e330770726f6475637453000000085261626269744d510776657273696f6e5300000006332e31302e380000000e504c41494e20414d51504c41494e00000005656e5f5553ce'

/** The method frames. */
export const recordedFrames: readonly RecordedFrame[] = [
  {
    channel: 0,
    method: {
      name: 'connection.start',
      args: {
        versionMajor: 0,
        versionMinor: 9,
        serverProperties: fieldTable({
          capabilities: {
            publisher_confirms: true,
            exchange_exchange_bindings: true,
            'basic.nack': true,
            consumer_cancel_notify: true,
            'connection.blocked': true,
            consumer_priorities: true,
            authentication_failure_close: true,
            per_consumer_qos: true,
            direct_reply_to: true,
          },
          cluster_name: 'bench5680@vm',
          copyright: 'Copyright (c) 2007-2022 VMware, Inc. or its affiliates.',
          information: 'Licensed under the MPL 2.0. Website: https://rabbitmq.com',
          platform: 'Erlang/OTP 25.2.3',
          product: 'RabbitMQ',
          version: '3.10.8',
        }),
        mechanisms: Buffer.from('PLAIN AMQPLAIN'),
        locales: Buffer.from('en_US'),
      },
    },
    hex: start,
  },
  {
    channel: 0,
    method: {
      name: 'connection.tune',
      args: { channelMax: 2047, frameMax: 131072, heartbeat: 60 },
    },
    hex: '0100000000000c000a001e07ff00020000003cce',
  },
  {
    channel: 0,
    method: { name: 'connection.open-ok', args: {} },
    hex: '01000000000005000a002900ce',
  },
  {
    channel: 1,
    method: { name: 'channel.open-ok', args: {} },
    hex: '010001000000080014000b00000000ce',
  },
  {
    channel: 1,
    method: { name: 'exchange.declare-ok', args: {} },
    hex: '010001000000040028000bce',
  },
  { channel: 1, method: { name: 'exchange.bind-ok', args: {} }, hex: '010001000000040028001fce' },
  {
    channel: 1,
    method: {
      name: 'queue.declare-ok',
      args: { queue: 'hare', messageCount: 0, consumerCount: 0 },
    },
    hex: '010001000000110032000b04686172650000000000000000ce',
  },
  { channel: 1, method: { name: 'queue.bind-ok', args: {} }, hex: '0100010000000400320015ce' },
  { channel: 1, method: { name: 'confirm.select-ok', args: {} }, hex: '010001000000040055000bce' },
  { channel: 1, method: { name: 'basic.qos-ok', args: {} }, hex: '01000100000004003c000bce' },
  { channel: 1, method: { name: 'basic.get-empty', args: {} }, hex: '01000100000005003c004800ce' },
  {
    channel: 1,
    method: { name: 'basic.ack', args: { deliveryTag: 1, multiple: false } },
    hex: '0100010000000d003c0050000000000000000100ce',
  },
  {
    channel: 1,
    method: { name: 'basic.nack', args: { deliveryTag: 2, multiple: true, requeue: true } },
    hex: '0100010000000d003c0078000000000000000203ce',
  },
  {
    channel: 1,
    method: {
      name: 'basic.return',
      args: { replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: 'nowhere' },
    },
    hex: '01000100000018003c00320138084e4f5f524f55544500076e6f7768657265ce',
  },
  {
    channel: 1,
    method: {
      name: 'basic.get-ok',
      args: {
        deliveryTag: 1,
        redelivered: false,
        exchange: 'burrow',
        routingKey: 'a.b',
        messageCount: 0,
      },
    },
    hex: '0100010000001c003c004700000000000000010006627572726f7703612e6200000000ce',
  },
  {
    channel: 1,
    method: { name: 'basic.consume-ok', args: { consumerTag: 'ears' } },
    hex: '01000100000009003c00150465617273ce',
  },
  {
    channel: 1,
    method: {
      name: 'basic.deliver',
      args: {
        consumerTag: 'ears',
        deliveryTag: 2,
        redelivered: true,
        exchange: 'burrow',
        routingKey: 'a.b',
      },
    },
    hex: '0100010000001d003c003c046561727300000000000000020106627572726f7703612e62ce',
  },
  { channel: 1, method: { name: 'basic.recover-ok', args: {} }, hex: '01000100000004003c006fce' },
  {
    channel: 1,
    method: { name: 'basic.cancel-ok', args: { consumerTag: 'ears' } },
    hex: '01000100000009003c001f0465617273ce',
  },
  {
    channel: 1,
    method: { name: 'channel.flow-ok', args: { active: true } },
    hex: '010001000000050014001501ce',
  },
  {
    channel: 1,
    method: { name: 'queue.purge-ok', args: { messageCount: 0 } },
    hex: '010001000000080032001f00000000ce',
  },
  { channel: 1, method: { name: 'queue.unbind-ok', args: {} }, hex: '0100010000000400320033ce' },
  {
    channel: 1,
    method: {
      name: 'basic.cancel',
      args: { consumerTag: 'amq.ctag-3D5JEPX_8bsJpR_3_IRGvw', nowait: true },
    },
    hex: '01000100000025003c001e1f616d712e637461672d3344354a4550585f3862734a70525f335f495247767701ce',
  },
  {
    channel: 2,
    method: { name: 'queue.delete-ok', args: { messageCount: 0 } },
    hex: '010002000000080032002900000000ce',
  },
  { channel: 2, method: { name: 'exchange.unbind-ok', args: {} }, hex: '0100020000000400280033ce' },
  { channel: 2, method: { name: 'exchange.delete-ok', args: {} }, hex: '0100020000000400280015ce' },
  { channel: 2, method: { name: 'tx.select-ok', args: {} }, hex: '01000200000004005a000bce' },
  { channel: 2, method: { name: 'tx.commit-ok', args: {} }, hex: '01000200000004005a0015ce' },
  { channel: 2, method: { name: 'tx.rollback-ok', args: {} }, hex: '01000200000004005a001fce' },
  {
    channel: 2,
    method: { name: 'access.request-ok', args: { ticket: 1 } },
    hex: '01000200000006001e000b0001ce',
  },
  { channel: 2, method: { name: 'channel.close-ok', args: {} }, hex: '0100020000000400140029ce' },
  {
    channel: 0,
    method: { name: 'connection.update-secret-ok', args: {} },
    hex: '01000000000004000a0047ce',
  },
  {
    channel: 17,
    method: {
      name: 'channel.close',
      args: {
        replyCode: 406,
        replyText:
          "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'dup' in vhost '/': received '6' but current is '5'",
        classId: 50,
        methodId: 10,
      },
    },
    hex: '0100110000007e00140028019673505245434f4e444954494f4e5f4641494c4544202d20696e6571756976616c656e74206172672027782d6d61782d6c656e6774682720666f7220717565756520276475702720696e2076686f737420272f273a20726563656976656420273627206275742063757272656e74206973202735270032000ace',
  },
  {
    channel: 0,
    method: { name: 'connection.close-ok', args: {} },
    hex: '01000000000004000a0033ce',
  },
  {
    channel: 14,
    method: {
      name: 'channel.close',
      args: {
        replyCode: 406,
        replyText:
          "PRECONDITION_FAILED - inequivalent arg 'x-single-active-consumer' for queue 'eq14' in vhost '/': received the value 'true' of type 'bool' but current is none",
        classId: 50,
        methodId: 10,
      },
    },
    hex: '01000e000000a80014002801969d505245434f4e444954494f4e5f4641494c4544202d20696e6571756976616c656e74206172672027782d73696e676c652d6163746976652d636f6e73756d65722720666f722071756575652027657131342720696e2076686f737420272f273a207265636569766564207468652076616c756520277472756527206f6620747970652027626f6f6c27206275742063757272656e74206973206e6f6e650032000ace',
  },
  {
    channel: 0,
    method: {
      name: 'connection.close',
      args: {
        replyCode: 501,
        replyText: 'FRAME_ERROR - cannot decode <<0,0>>',
        classId: 50,
        methodId: 10,
      },
    },
    hex: '0100000000002e000a003201f5234652414d455f4552524f52202d2063616e6e6f74206465636f6465203c3c302c303e3e0032000ace',
  },
]

/** The payload of a content header whose message had every property but cluster-id; it starts with the class id. */
export const recordedContentHeader =
  '003c00000000000000000003bff80a746578742f706c61696e00000056016e4900000001036269676c00000100000000000174740101735300000004746578740176560164643fe0000000000000046c697374410000000b4900000001530000000161037375624600000007016b49ffffffff020301630172053630303030016d000000006553f10002747905677565737403617070'
