/** Describes a connection for who looks at the broker from outside. */
import type {
  ChannelDescription,
  ConsumerDescription,
  SessionDescription,
} from '../broker/session-description.js'
import type { Channel } from './channel.js'
import type { Connection } from './connection.js'
import type { ChannelConsumer } from './consumer.js'

export function describeConnection(
  connection: Connection,
  channels: Iterable<Channel>,
  state: SessionDescription['state'],
): SessionDescription {
  const { agreed, peer } = connection
  return {
    name: connection.name,
    givenName: agreed.connectionName,
    user: connection.user,
    vhost: connection.vhostName,
    state,
    peerHost: peer.remoteAddress,
    peerPort: peer.remotePort,
    host: peer.localAddress,
    port: peer.localPort,
    mechanism: agreed.mechanism,
    tls: connection.tls,
    clientProperties: agreed.clientProperties,
    channelMax: agreed.channelMax,
    frameMax: agreed.frameMax,
    heartbeatSeconds: agreed.heartbeatSeconds,
    openedAtMs: agreed.openedAtMs,
    bytesReceived: connection.bytesReceived,
    bytesSent: connection.bytesSent,
    channels: Array.from(channels, describeChannel),
  }
}

function describeChannel(channel: Channel): ChannelDescription {
  const { confirms, transaction } = channel
  return {
    number: channel.number,
    prefetch: channel.prefetch,
    sharedPrefetch: channel.sharedPrefetch,
    confirms: confirms !== null,
    transactional: transaction !== null,
    unacked: channel.unacked.count,
    unconfirmed: confirms?.waiting ?? 0,
    uncommitted: transaction?.waiting ?? 0,
    consumers: Array.from(channel.consumers.values(), describeConsumer),
  }
}

function describeConsumer(consumer: ChannelConsumer): ConsumerDescription {
  const { tag, queue, noAck, exclusive, prefetch } = consumer
  const { active } = queue.consumers
  return {
    tag,
    queue,
    noAck,
    exclusive,
    active: active === null || active === consumer,
    prefetch,
    arguments: consumer.arguments,
  }
}
