import t from 'tap'
import {
  carriesContent,
  fieldsOf,
  maySend,
  methodById,
  methodNames,
  methods,
} from '../../src/wire/methods.js'
import { publishedMethods } from '../support/amqplib-codec.js'

t.test('the table holds exactly the published methods', async t => {
  t.same(
    methodNames()
      .map(name => methods[name].id)
      .sort((a, b) => a - b),
    publishedMethods.map(method => method.id).sort((a, b) => a - b),
  )
})

t.test('each has the published name, fields, types and order', async t => {
  for (const published of publishedMethods) {
    const name = methodById(published.id)
    if (name === undefined) throw new Error(published.name)
    const fields = published.args.map(({ name, type }) => `${name} ${type}`)
    const ours = fieldsOf(name).map(
      field => `${field.name.replace('vhost', 'virtualHost')} ${field.type}`,
    )
    t.equal(pascalCase(name), published.name)
    t.same(ours, fields, name)
  }
})

function pascalCase(name: string): string {
  return name.replace(/(^|[.-])(.)/g, (_, _separator, letter: string) => letter.toUpperCase())
}

t.test('an id outside the table names no method', async t => {
  t.equal(methodById(0x00320063), undefined)
  t.equal(methodById(0), undefined)
})

t.test('four methods carry content', async t => {
  t.same(methodNames().filter(carriesContent), [
    'basic.publish',
    'basic.return',
    'basic.deliver',
    'basic.get-ok',
  ])
})

t.test('a side may send its own methods and those of both', async t => {
  t.equal(maySend('client', 'basic.publish'), true)
  t.equal(maySend('server', 'basic.publish'), false)
  t.equal(maySend('client', 'basic.deliver'), false)
  t.equal(maySend('server', 'basic.deliver'), true)
  t.equal(maySend('client', 'basic.ack'), true)
  t.equal(maySend('server', 'basic.ack'), true)
})
