/** What the event exchange tells of users, permissions and vhosts; keys and facts as of RabbitMQ 3.10. */
import t from 'tap'
import { type FieldTable, printValue } from '../../../src/wire/field-table.js'
import { decodeProperties } from '../../../src/wire/properties.js'
import { consume, declareQueue, method, SimulatedBroker } from '../../support/test-client.js'

/** The facts of an event as text, without the time. */
function factsOf(headers: FieldTable): string {
  return headers
    .filter(({ key }) => key !== 'timestamp_in_ms')
    .map(({ key, value }) => `${key}=${value.type === 'S' ? value.value : printValue(value)}`)
    .join(' ')
}

t.test('who asked for what is told', async t => {
  const host = new SimulatedBroker()
  const { access } = host.broker
  const client = host.open()
  for (const key of ['user.#', 'permission.#', 'topic.#', 'vhost.#', 'parameter.#'])
    client.give(
      declareQueue(1, 'events'),
      method(1, 'queue.bind', {
        queue: 'events',
        exchange: 'amq.rabbitmq.event',
        routingKey: key,
        nowait: false,
        arguments: [],
      }),
    )
  client.give(consume(1, 'events', 'c', true))
  host.settle()
  client.take()
  /** Key and facts of what was told since the last time. */
  const told = () => {
    host.settle()
    const frames = client.take()
    return frames.flatMap(({ name, args }, i) => {
      if (name !== 'basic.deliver') return []
      const header = frames[i + 1]?.payload ?? Buffer.alloc(14)
      const { headers = [] } = decodeProperties(header, 12, header.length)
      return `${args.routingKey}: ${factsOf(headers)}`
    })
  }
  const by = 'user_who_performed_action=root'
  access.setUser('u', { password: 'p' }, [], 'root')
  t.strictSame(told(), [`user.created: name=u ${by}`])
  access.setUser('u', { password: 'p' }, ['monitoring'], 'root')
  t.match(told(), [
    `user.password.changed: name=u ${by}`,
    /^user.tags.set: name=u tags=.*monitoring/,
  ])
  access.setPassword('u', null, 'root')
  t.strictSame(told(), [`user.password.cleared: name=u ${by}`])
  access.setUserLimits('u', { 'max-channels': 5 }, 'root')
  t.strictSame(told(), [`user.limits.set: max-channels=5 username=u name=limits ${by}`])
  access.setUserLimits('u', {}, 'root')
  t.strictSame(told(), [`user.limits.cleared: username=u name=limits ${by}`])
  access.addVhost('v', 'root')
  t.strictSame(told(), [`vhost.created: name=v ${by}`])
  access.setPermission('u', 'v', { configure: 'a', write: 'b', read: 'c' }, 'root')
  t.strictSame(told(), [`permission.created: user=u vhost=v configure=a write=b read=c ${by}`])
  access.setTopicPermission('u', 'v', 'amq.topic', { write: 'a', read: 'b' }, 'root')
  t.strictSame(told(), [
    `topic.permission.created: user=u vhost=v exchange=amq.topic write=a read=b ${by}`,
  ])
  access.removeTopicPermission('u', 'v', 'amq.topic', 'root')
  t.strictSame(told(), [`topic.permission.deleted: user=u vhost=v exchange=amq.topic ${by}`])
  access.setVhostLimits('v', { 'max-queues': 5 }, 'root')
  t.match(told(), [/^parameter.set: component=vhost-limits/, /^vhost.limits.set: max-queues=5/])
  access.setVhostLimits('v', {}, 'root')
  t.match(told(), [/^parameter.cleared: component/, /^vhost.limits.cleared: name=limits/])
  access.removePermission('u', 'v', 'root')
  t.strictSame(told(), [`permission.deleted: user=u vhost=v ${by}`])
  access.removeVhost('v', 'root')
  t.strictSame(told(), [`vhost.deleted: name=v ${by}`])
  access.removeUser('u')
  t.strictSame(told(), ['user.deleted: name=u user_who_performed_action=rmq-internal'])
})
