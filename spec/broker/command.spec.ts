/** Commands of the definitions, as bytes and back. */
import fc from 'fast-check'
import t from 'tap'
import { type Command, decodeCommand, encodeCommand } from '../../src/broker/command.js'
import {
  checkTable,
  type FieldTable,
  fieldTable,
  tableSize,
  writeTable,
} from '../../src/wire/field-table.js'
import { fieldTables, shortstr } from '../support/generators.js'

const plainObjects = { noNullPrototype: true }

const number = fc.integer({ min: 0, max: 2 ** 48 - 1 })
const named = { vhost: shortstr, name: shortstr }
const binding = {
  vhost: shortstr,
  source: shortstr,
  kind: fc.constantFrom('queue', 'exchange'),
  destination: shortstr,
  key: shortstr,
  arguments: fieldTables,
}

const permission = { user: shortstr, vhost: shortstr }

function command(name: Command['command'], fields: Record<string, fc.Arbitrary<unknown>>) {
  const all = { command: fc.constant(name), ...fields }
  return fc.record(all, plainObjects) as unknown as fc.Arbitrary<Command>
}

const commands: fc.Arbitrary<Command> = fc.oneof(
  command('snapshot.begun', {}),
  command('snapshot.ended', { lastQueue: number }),
  command('messages.suspected', { upTo: number }),
  command('vhost.added', { name: shortstr }),
  command('vhost.described', {
    name: shortstr,
    description: shortstr,
    tags: fc.array(shortstr),
    defaultQueueType: shortstr,
  }),
  command('vhost.limited', { name: shortstr, limits: fieldTables }),
  command('vhost.removed', { name: shortstr }),
  command('user.set', {
    name: shortstr,
    passwordHash: shortstr,
    algorithm: shortstr,
    tags: fc.array(shortstr),
    limits: fieldTables,
  }),
  command('user.removed', { name: shortstr }),
  command('permission.set', {
    ...permission,
    configure: shortstr,
    write: shortstr,
    read: shortstr,
  }),
  command('permission.removed', permission),
  command('topic-permission.set', {
    ...permission,
    exchange: shortstr,
    write: shortstr,
    read: shortstr,
  }),
  command('topic-permission.removed', { ...permission, exchange: shortstr }),
  command('exchange.declared', {
    ...named,
    type: shortstr,
    autoDelete: fc.boolean(),
    internal: fc.boolean(),
    arguments: fieldTables,
    number,
  }),
  command('exchange.deleted', named),
  command('queue.declared', {
    ...named,
    number,
    autoDelete: fc.boolean(),
    arguments: fieldTables,
  }),
  command('queue.deleted', { ...named, number }),
  command('policy.set', {
    ...named,
    kind: fc.constantFrom('policy', 'operator_policy'),
    pattern: shortstr,
    applyTo: shortstr,
    priority: fc.integer(),
    definition: shortstr,
  }),
  command('policy.removed', { ...named, kind: shortstr }),
  command('bound', binding),
  command('unbound', binding),
)

function encoded(table: FieldTable): Buffer {
  const bytes = Buffer.alloc(tableSize(table))
  writeTable(bytes, 0, table)
  return bytes
}

const decoded = (bytes: Buffer) => decodeCommand(bytes, 0, bytes.length)

t.test('a command is read as it was written, wherever it stands', async t => {
  fc.assert(
    fc.property(commands, fc.nat(20), fc.nat(20), (command, before, after) => {
      const bytes = encodeCommand(command)
      const around = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(after, 2)])
      const read = decodeCommand(around, before, before + bytes.length)
      t.strictSame(read, command)
    }),
  )
})

t.test('arguments may be nested as deep as a client can send them', async t => {
  let table: FieldTable = []
  for (let depth = 1; depth < 512; depth++)
    table = [{ key: '', value: { type: 'F', value: table } }]
  const command: Command = {
    command: 'queue.declared',
    vhost: '/',
    name: 'q',
    number: 1,
    autoDelete: false,
    arguments: table,
  }
  t.ok(checkTable(encoded(table), 4, tableSize(table)), 'which is as deep as this')
  t.same(encodeCommand(decoded(encodeCommand(command))), encodeCommand(command))
})

t.test('an exchange of an earlier version has no number', async t => {
  const earlier = {
    command: 'exchange.declared',
    vhost: '/',
    name: 'x',
    type: 'direct',
    autoDelete: false,
    internal: false,
    arguments: encoded([]),
  }
  t.strictSame(decoded(encoded(fieldTable(earlier))), { ...earlier, arguments: [], number: 0 })
})

t.test('fields that nobody knows are passed over', async t => {
  const later = { command: 'vhost.added', name: 'v', colour: 'red', tracing: true }
  t.strictSame(decoded(encoded(fieldTable(later))), { command: 'vhost.added', name: 'v' })
})

t.test('a command that nobody knows is refused by its name', async t => {
  for (const command of ['shovel.set', 'constructor', 'toString'])
    t.throws(() => decoded(encoded(fieldTable({ command }))), {
      message: `a definition has a command that this version does not know: '${command}'`,
    })
})

t.test(
  'a command with a field missing, or of another type, is refused with both names',
  async t => {
    const wanted = { command: 'queue.deleted', vhost: '/', name: 'q', number: 1 }
    t.strictSame(decoded(encoded(fieldTable(wanted))), wanted)
    const less = { command: 'queue.deleted', vhost: '/', name: 'q' }
    for (const wrong of [less, { ...wanted, number: 'one' }])
      t.throws(() => decoded(encoded(fieldTable(wrong))), {
        message: "the definition 'queue.deleted' has no number 'number'",
      })
  },
)

t.test('bytes that are no table are refused', async t => {
  const good = encodeCommand({ command: 'vhost.added', name: 'v' })
  for (let end = 0; end < good.length; end++)
    t.throws(() => decodeCommand(good, 0, end), /no field table/)
})
