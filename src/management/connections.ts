/** Connections, their channels and consumers over HTTP: everybody's own, and all for who monitors. */
import type { Broker } from '../broker/broker.js'
import type {
  ChannelDescription,
  ConsumerDescription,
  SessionDescription,
} from '../broker/session-description.js'
import type { Session } from '../broker/sessions.js'
import { AmqpError } from '../wire/replies.js'
import { tableJson } from './json.js'
import { type Item, listed, projected } from './listing.js'
import { notFound } from './refusal.js'
import { type Call, noContent, type Route } from './route.js'
import { vhostOf } from './vhosts.js'
import type { Visitor } from './visitor.js'

export function connectionItem(session: SessionDescription, node: string): Item {
  const { tls } = session
  const certificate = tls?.certificate
  return {
    name: session.name,
    type: 'network',
    node,
    vhost: session.vhost,
    user: session.user,
    user_who_performed_action: session.user,
    ...(session.givenName !== '' && { user_provided_name: session.givenName }),
    state: session.state,
    protocol: 'AMQP 0-9-1',
    auth_mechanism: session.mechanism,
    peer_host: session.peerHost,
    peer_port: session.peerPort,
    host: session.host,
    port: session.port,
    channels: session.channels.length,
    channel_max: session.channelMax,
    frame_max: session.frameMax,
    timeout: session.heartbeatSeconds,
    connected_at: session.openedAtMs,
    client_properties: tableJson(session.clientProperties),
    recv_oct: session.bytesReceived,
    send_oct: session.bytesSent,
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

function channelItem(session: SessionDescription, channel: ChannelDescription, node: string): Item {
  const { name, peerHost, peerPort, user, vhost } = session
  return {
    name: `${name} (${channel.number})`,
    number: channel.number,
    node,
    vhost,
    user,
    user_who_performed_action: user,
    connection_details: { name, peer_host: peerHost, peer_port: peerPort },
    state: session.state === 'running' ? 'running' : 'flow',
    prefetch_count: channel.prefetch,
    global_prefetch_count: channel.sharedPrefetch,
    consumer_count: channel.consumers.length,
    messages_unacknowledged: channel.unacked,
    messages_unconfirmed: channel.unconfirmed,
    messages_uncommitted: channel.uncommitted,
    acks_uncommitted: 0,
    confirm: channel.confirms,
    transactional: channel.transactional,
  }
}

function consumerItem(
  session: SessionDescription,
  { number }: ChannelDescription,
  consumer: ConsumerDescription,
  node: string,
): Item {
  const { name, peerHost, peerPort, user, vhost } = session
  const { singleActiveConsumer } = consumer.queue.settings
  const status = singleActiveConsumer && consumer.active ? 'single_active' : 'up'
  return {
    consumer_tag: consumer.tag,
    queue: { name: consumer.queue.name, vhost },
    channel_details: {
      name: `${name} (${number})`,
      number,
      connection_name: name,
      node,
      peer_host: peerHost,
      peer_port: peerPort,
      user,
    },
    ack_required: !consumer.noAck,
    exclusive: consumer.exclusive,
    active: consumer.active,
    activity_status: consumer.active ? status : 'waiting',
    prefetch_count: consumer.prefetch,
    arguments: tableJson(consumer.arguments),
  }
}

const byName = (a: Item, b: Item) => (String(a.name) < String(b.name) ? -1 : 1)

export function connectionRoutes(broker: Broker, node: string): readonly Route[] {
  const { access } = broker
  const described = (sessions: Iterable<Session>, visitor: Visitor) =>
    Array.from(sessions)
      .filter(({ user }) => user === visitor.name || visitor.has('monitoring'))
      .map(session => session.describe())
  const connections = (sessions: Iterable<Session>, { visitor, query }: Call) =>
    listed(
      described(sessions, visitor)
        .map(session => connectionItem(session, node))
        .sort(byName),
      query,
    )
  const channelsOf = (sessions: readonly SessionDescription[]) =>
    sessions
      .flatMap(session => session.channels.map(channel => channelItem(session, channel, node)))
      .sort(byName)
  const channels = (sessions: Iterable<Session>, { visitor, query }: Call) =>
    listed(channelsOf(described(sessions, visitor)), query)
  const consumers = (sessions: Iterable<Session>, { visitor, query }: Call) => {
    const items = described(sessions, visitor).flatMap(session =>
      session.channels.flatMap(channel =>
        channel.consumers.map(consumer => consumerItem(session, channel, consumer, node)),
      ),
    )
    return listed(items, query)
  }
  /** The connection that a path names; others than the own are there only for who monitors. */
  const sessionOf = ({ params, visitor }: Call): Session => {
    for (const session of access.sessions.all)
      if (session.name === params.connection)
        if (session.user === visitor.name || visitor.has('monitoring')) return session
    throw notFound()
  }
  const get = (path: string, does: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path,
    allowed: 'management',
    does,
    handle,
  })
  const close = (session: Session, { headers }: Call) => {
    const { 'x-reason': given } = headers
    const reason =
      typeof given === 'string' && given !== '' ? given : 'Closed via management plugin'
    session.close(new AmqpError('CONNECTION_FORCED', reason))
  }
  return [
    get('/connections', 'Lists the open connections.', call =>
      connections(access.sessions.all, call),
    ),
    get('/vhosts/:vhost/connections', 'Lists the connections to a vhost.', call =>
      connections(access.sessions.inVhost(vhostOf(broker, call).name), call),
    ),
    get('/connections/:connection', 'Shows a connection.', call =>
      projected(connectionItem(sessionOf(call).describe(), node), call.query),
    ),
    {
      method: 'DELETE',
      path: '/connections/:connection',
      allowed: 'management',
      does: 'Closes a connection; the header X-Reason says why. Those of others only administrators may.',
      handle: call => {
        const session = sessionOf(call)
        if (session.user !== call.visitor.name) call.visitor.mustHave('administrator')
        close(session, call)
        return noContent
      },
    },
    get('/connections/:connection/channels', 'Lists the channels of a connection.', call =>
      listed(channelsOf([sessionOf(call).describe()]), call.query),
    ),
    get('/connections/username/:user', 'Lists the connections of a user.', call => {
      const items = described(access.sessions.ofUser(call.params.user ?? ''), call.visitor)
      return listed(
        items.map(({ name, vhost, user }) => ({ name, vhost, user, node })).sort(byName),
        call.query,
      )
    }),
    {
      method: 'DELETE',
      path: '/connections/username/:user',
      allowed: 'management',
      does: 'Closes all connections of a user. Those of others only administrators may.',
      handle: call => {
        const { user = '' } = call.params
        if (user !== call.visitor.name) call.visitor.mustHave('administrator')
        for (const session of [...access.sessions.ofUser(user)]) close(session, call)
        return noContent
      },
    },
    get('/channels', 'Lists the channels of all connections.', call =>
      channels(access.sessions.all, call),
    ),
    get('/vhosts/:vhost/channels', 'Lists the channels in a vhost.', call =>
      channels(access.sessions.inVhost(vhostOf(broker, call).name), call),
    ),
    get('/channels/:channel', 'Shows a channel.', call => {
      const { channel: name = '' } = call.params
      for (const session of described(access.sessions.all, call.visitor))
        for (const channel of session.channels) {
          if (`${session.name} (${channel.number})` !== name) continue
          const details = channel.consumers.map(consumer =>
            consumerItem(session, channel, consumer, node),
          )
          const item = channelItem(session, channel, node)
          return projected({ ...item, consumer_details: details }, call.query)
        }
      throw notFound()
    }),
    get('/consumers', 'Lists the consumers in all vhosts.', call =>
      consumers(access.sessions.all, call),
    ),
    get('/consumers/:vhost', 'Lists the consumers in a vhost.', call =>
      consumers(access.sessions.inVhost(vhostOf(broker, call).name), call),
    ),
  ]
}
