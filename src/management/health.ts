/** Health checks: 200 if all is well, 503 with the reason if not. Those that a probe without credentials may ask say nothing else. */
import type { Broker } from '../broker/broker.js'
import { badRequest, notFound } from './refusal.js'
import { Answer, type Route } from './route.js'

/** One port on which the broker listens. */
export interface Listening {
  /** RabbitMQ's name: amqp, amqp/ssl, http, https, http/prometheus, http/web-amqp. */
  readonly protocol: string
  readonly host: string
  readonly port: number
}

/** Names of protocols as people write them. */
const aliases: Readonly<Record<string, string>> = {
  amqp091: 'amqp',
  'amqp0.9.1': 'amqp',
  'amqp0-9-1': 'amqp',
  amqp10: 'amqp',
  'amqp1.0': 'amqp',
  'amqp1-0': 'amqp',
  amqps: 'amqp/ssl',
  https: 'https',
  http: 'http',
  management: 'http',
  prometheus: 'http/prometheus',
}

/** Units of time for certificates. */
const units = ['days', 'weeks', 'months', 'years']

const ok = { status: 'ok' }

const failed = (reason: string, more: Readonly<Record<string, unknown>> = {}) =>
  new Answer(503, { status: 'failed', reason, ...more })

/** What RabbitMQ calls the resources of alarms that are set. */
function alarmsSet({ alarms }: Broker, node: string): { node: string; resource: string }[] {
  const set: { node: string; resource: string }[] = []
  if (alarms.has('disk') || alarms.has('log') || alarms.has('definitions'))
    set.push({ node, resource: 'disk space' })
  if (alarms.has('memory')) set.push({ node, resource: 'memory' })
  return set
}

export function healthRoutes(
  broker: Broker,
  node: string,
  listening: () => readonly Listening[],
): readonly Route[] {
  const check = (path: string, does: string, handle: Route['handle'], open = false): Route => ({
    method: 'GET',
    path,
    allowed: open ? 'anyone' : 'management',
    does,
    handle,
  })
  const alarms = (where: string) => () => {
    const set = alarmsSet(broker, node)
    if (set.length === 0) return ok
    return failed(`There are alarms in effect ${where}`, { alarms: set })
  }
  const single = () => ({ ...ok, reason: 'single node cluster' })
  const serving = () =>
    listening().some(({ protocol }) => protocol.startsWith('amqp'))
      ? ok
      : failed('No active listener')
  return [
    check('/health/checks/alarms', 'Fails while an alarm is set.', alarms('in the cluster')),
    check('/health/checks/local-alarms', 'The same on one node.', alarms('on the node')),
    check('/health/checks/virtual-hosts', 'Fails if a vhost is down.', () => ok),
    check('/health/checks/port-listener/:port', 'Fails if nobody listens on a port.', call => {
      const port = Number(call.params.port)
      if (!Number.isInteger(port)) throw badRequest('Invalid port')
      const ports = listening().map(listener => listener.port)
      if (ports.includes(port)) return { ...ok, port }
      return failed('No active listener', { missing: port, ports })
    }),
    check(
      '/health/checks/protocol-listener/:protocols',
      'Fails if a protocol has no listener.',
      call => {
        const asked = (call.params.protocols ?? '').toLowerCase().split(',')
        const wanted = asked.map(name => aliases[name] ?? name)
        const protocols = [...new Set(listening().map(({ protocol }) => protocol))]
        const missing = wanted.filter(name => !protocols.includes(name))
        if (missing.length > 0) return failed('No active listener', { missing, protocols })
        return { ...ok, protocol: wanted[0], protocols: wanted }
      },
    ),
    check(
      '/health/checks/node-is-quorum-critical',
      'Fails if a queue would lose its majority.',
      single,
    ),
    check('/health/checks/node-is-mirror-sync-critical', 'The same for mirrors.', single),
    check(
      '/health/checks/certificate-expiration/:within/:unit',
      'Fails if a certificate soon expires.',
      ({ params: { within, unit = '' } }) => {
        if (!/^\d+$/.test(within ?? '')) throw badRequest('Invalid expiration period')
        if (!units.includes(unit))
          throw badRequest('Time unit not recognised. Supported units: days, weeks, months, years.')
        return ok
      },
    ),
    check('/health/checks/is-in-service', 'Fails while clients are not served.', serving, true),
    check('/health/checks/ready-to-serve-clients', 'The same.', serving, true),
    check(
      '/health/checks/below-node-connection-limit',
      'Fails while no more connections are accepted.',
      serving,
      true,
    ),
    check('/health/checks/reached-target-cluster-size', 'Never fails.', () => ok, true),
    check('/healthchecks/node', 'Fails while an alarm is set, as older tools ask.', () => {
      const set = alarmsSet(broker, node)
      if (set.length === 0) return ok
      const names = set.map(({ resource }) => resource)
      return failed(`resource alarm(s) in effect:[${names.join(', ')}]`)
    }),
    {
      method: 'GET',
      path: '/aliveness-test/:vhost',
      allowed: 'management',
      does: 'Tells that a vhost serves who may use it.',
      handle: ({ params, visitor }) => {
        const vhost = broker.access.vhosts.get(params.vhost ?? '')
        if (vhost === undefined || !visitor.uses(vhost.name)) throw notFound()
        return ok
      },
    },
  ]
}
