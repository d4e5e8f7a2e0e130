/** Events of connections, channels and consumers, with the facts that RabbitMQ tells. */
import { type Events, type Facts, printedFields } from '../broker/events.js'
import type { Peer } from '../platform/peer.js'
import type { TlsSession } from '../platform/tls-session.js'
import type { Channel } from './channel.js'
import type { Connection } from './connection.js'
import type { ChannelConsumer } from './consumer.js'

/** A connection in which somebody logs in. */
interface Entrance {
  readonly name: string
  readonly peer: Peer
  readonly tls: object | null
}

export function loggedIn(events: Events, at: Entrance, mechanism: string, user: string): void {
  events.emit('user.authentication.success', () => login(at, mechanism, user))
}

export function loginRefused(
  events: Events,
  at: Entrance,
  mechanism: string,
  user: string,
  reason: string,
): void {
  const facts = () => ({ ...login(at, mechanism, user), error: reason })
  events.emit('user.authentication.failure', facts)
}

/** A connection is opened. */
export function connectionCreated(events: Events, connection: Connection): void {
  events.emit('connection.created', () => {
    const { agreed, peer, user } = connection
    return {
      type: 'network',
      ...named(events, connection),
      ...endsOf(peer),
      ...tlsFacts(connection.tls),
      protocol: '{0,9,1}',
      auth_mechanism: agreed.mechanism,
      user,
      vhost: agreed.vhost?.name ?? '',
      timeout: agreed.heartbeatSeconds,
      frame_max: agreed.frameMax,
      channel_max: agreed.channelMax,
      client_properties: printedFields(agreed.clientProperties),
      user_who_performed_action: user,
    }
  })
}

/** An opened connection is no more. */
export function connectionClosed(events: Events, connection: Connection): void {
  events.emit('connection.closed', () => ({
    ...named(events, connection),
    user_who_performed_action: connection.user,
  }))
}

export function channelCreated(channel: Channel): void {
  const { vhost, connection, number, user } = channel
  vhost.events.emit('channel.created', () => ({
    pid: pidOf(channel),
    name: pidOf(channel),
    connection: connection.name,
    number,
    user,
    vhost: vhost.name,
    user_who_performed_action: user,
  }))
}

export function channelClosed(channel: Channel): void {
  const { vhost, user } = channel
  vhost.events.emit('channel.closed', () => ({
    pid: pidOf(channel),
    user_who_performed_action: user,
  }))
}

export function consumerCreated(consumer: ChannelConsumer): void {
  const { channel, queue } = consumer
  channel.vhost.events.emit('consumer.created', () => ({
    consumer_tag: consumer.tag,
    exclusive: consumer.exclusive,
    ack_required: !consumer.noAck,
    channel: pidOf(channel),
    vhost: channel.vhost.name,
    queue: queue.name,
    prefetch_count: consumer.prefetch,
    arguments: printedFields(consumer.arguments),
    user_who_performed_action: channel.user,
  }))
}

export function consumerDeleted(consumer: ChannelConsumer): void {
  const { channel, queue } = consumer
  channel.vhost.events.emit('consumer.deleted', () => ({
    consumer_tag: consumer.tag,
    channel: pidOf(channel),
    vhost: channel.vhost.name,
    queue: queue.name,
    user_who_performed_action: channel.user,
  }))
}

/** What TLS knows of a connection, all of it empty for one that is not of TLS. */
function tlsFacts(tls: TlsSession | null): Facts {
  const certificate = tls?.certificate
  return {
    ssl: tls !== null,
    ssl_protocol: tls?.protocol ?? '',
    ssl_key_exchange: tls?.keyExchange ?? '',
    ssl_cipher: tls?.cipher ?? '',
    ssl_hash: tls?.hash ?? '',
    peer_cert_subject: certificate?.subject ?? '',
    peer_cert_issuer: certificate?.issuer ?? '',
    peer_cert_validity: certificate?.validity ?? '',
  }
}

function endsOf(peer: Peer): Facts {
  return {
    host: peer.localAddress,
    port: peer.localPort,
    peer_host: peer.remoteAddress,
    peer_port: peer.remotePort,
  }
}

function login({ name, peer, tls }: Entrance, mechanism: string, user: string): Facts {
  return {
    connection_type: 'network',
    name: user,
    connection_name: name,
    ...endsOf(peer),
    protocol: '{0,9,1}',
    auth_mechanism: mechanism,
    ssl: tls !== null,
  }
}

/** Its name stands for the id of RabbitMQ's process too. */
function named({ nodeName }: Events, { name, agreed }: Connection): Facts {
  const given = agreed.connectionName
  return {
    name,
    pid: name,
    node: nodeName,
    ...(given !== '' && { user_provided_name: given }),
  }
}

function pidOf({ connection, number }: Channel): string {
  return `${connection.name} (${number})`
}
