/** What the event exchange tells of logins and alarms. */
import t from 'tap'
import type { Vhost } from '../../src/broker/vhost.js'
import { lookup, textOf } from '../../src/wire/field-table.js'
import { declareQueue, handshake, method, SimulatedBroker } from '../support/test-client.js'
import { takeAll } from '../support/vhosts.js'

/** A broker whose events with such keys come to a queue. */
function listening(routingKey: string) {
  const host = new SimulatedBroker()
  const vhost = host.broker.vhost('/') as Vhost
  const exchange = 'amq.rabbitmq.event'
  const bind = { queue: 'heard', exchange, routingKey, nowait: true, arguments: [] }
  host.open().give(declareQueue(1, 'heard'), method(1, 'queue.bind', bind))
  const told = () => {
    host.settle()
    return takeAll(vhost, 'heard')
  }
  told()
  return { host, told }
}

t.test('logins are told of, with the reason of those that are refused', async t => {
  const { host, told } = listening('user.authentication.#')
  host.open()
  host.connect().give(...handshake({ password: 'wrong' }))
  const [success, failure, ...others] = told()
  t.same(others, [])
  t.equal(success?.routingKey, 'user.authentication.success')
  t.equal(failure?.routingKey, 'user.authentication.failure')
  for (const event of [success, failure]) {
    const fact = (name: string) => textOf(lookup(event?.headers ?? [], name))
    t.equal(fact('name'), 'guest')
    t.equal(fact('auth_mechanism'), 'PLAIN')
    t.equal(fact('connection_type'), 'network')
    t.match(fact('connection_name'), / -> /)
    t.strictSame(lookup(event?.headers ?? [], 'ssl'), { type: 't', value: false })
  }
  t.match(textOf(lookup(failure?.headers ?? [], 'error')), /^user 'guest' - /)
})

t.test('alarms are told of by their resource', async t => {
  const { host, told } = listening('alarm.*')
  host.broker.alarms.set('memory', true)
  host.broker.alarms.set('memory', false)
  t.same(
    told().map(({ routingKey, headers }) => [
      routingKey,
      textOf(lookup(headers, 'source')),
      textOf(lookup(headers, 'node')),
    ]),
    [
      ['alarm.set', 'memory', 'leveret@localhost'],
      ['alarm.cleared', 'memory', 'leveret@localhost'],
    ],
  )
})
