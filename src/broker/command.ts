/**
 * Commands: what changes definitions, as their log keeps it. A command is a field table (with its
 * length) whose first field, `command`, holds its name; the others are those of the table below.
 * Fields that are not known are passed over, so that a later version may add some; a command that
 * is not known is refused, for nobody can tell what would be missing without it.
 *
 *     queue.declared    vhost S | name S | number I or l | autoDelete t | arguments x
 *
 * Lists of texts are arrays. Arguments are a table in a byte array: a client's may be nested as deep as a table can be.
 */
import {
  checkTable,
  decodeTable,
  type FieldArray,
  type FieldTable,
  type FieldValue,
  fieldValue,
  lookup,
  tableSize,
  textOf,
  writeTable,
} from '../wire/field-table.js'

type FieldType = 'text' | 'texts' | 'number' | 'number?' | 'flag' | 'table'

interface ValueOf {
  readonly text: string
  readonly texts: readonly string[]
  readonly number: number
  /** 0 if it is absent. */
  readonly 'number?': number
  readonly flag: boolean
  readonly table: FieldTable
}

const binding = {
  vhost: 'text',
  source: 'text',
  /** What the destination is: `queue` or `exchange`. */
  kind: 'text',
  destination: 'text',
  key: 'text',
  arguments: 'table',
} as const

/** The commands with their fields. Only what is durable is ever in one. */
const commands = {
  /** Everything before it is void; what there is follows, up to the end of the snapshot. */
  'snapshot.begun': {},
  /** `lastQueue` is the highest number a queue ever had. */
  'snapshot.ended': { lastQueue: 'number' },
  /** After an unclean stop: the messages up to this number may have been delivered before. */
  'messages.suspected': { upTo: 'number' },
  'vhost.added': { name: 'text' },
  'vhost.described': {
    name: 'text',
    description: 'text',
    tags: 'texts',
    defaultQueueType: 'text',
  },
  /** Limits are numbers by name: those that are not there are none. */
  'vhost.limited': { name: 'text', limits: 'table' },
  /** All that is in it goes with it, and the permissions for it. */
  'vhost.removed': { name: 'text' },
  /** Sets a user up, or anew: with base64 of a salt of 4 bytes and the hash of salt and password. */
  'user.set': {
    name: 'text',
    passwordHash: 'text',
    algorithm: 'text',
    tags: 'texts',
    limits: 'table',
  },
  /** Its permissions go with it. */
  'user.removed': { name: 'text' },
  'permission.set': {
    user: 'text',
    vhost: 'text',
    configure: 'text',
    write: 'text',
    read: 'text',
  },
  'permission.removed': { user: 'text', vhost: 'text' },
  'topic-permission.set': {
    user: 'text',
    vhost: 'text',
    exchange: 'text',
    write: 'text',
    read: 'text',
  },
  'topic-permission.removed': { user: 'text', vhost: 'text', exchange: 'text' },
  'exchange.declared': {
    vhost: 'text',
    name: 'text',
    type: 'text',
    autoDelete: 'flag',
    internal: 'flag',
    arguments: 'table',
    /** Names the messages that it holds back in the log, like a queue's; 0 or absent: it keeps none. */
    number: 'number?',
  },
  /** Its bindings go with it. */
  'exchange.deleted': { vhost: 'text', name: 'text' },
  'queue.declared': {
    vhost: 'text',
    name: 'text',
    number: 'number',
    autoDelete: 'flag',
    arguments: 'table',
  },
  /** Its bindings go with it. */
  'queue.deleted': { vhost: 'text', name: 'text', number: 'number' },
  /** Sets a policy: `kind` is `policy` or `operator_policy`, the definition is JSON. */
  'policy.set': {
    vhost: 'text',
    kind: 'text',
    name: 'text',
    pattern: 'text',
    applyTo: 'text',
    priority: 'number',
    definition: 'text',
  },
  'policy.removed': { vhost: 'text', kind: 'text', name: 'text' },
  bound: binding,
  unbound: binding,
} as const satisfies Readonly<Record<string, Readonly<Record<string, FieldType>>>>

type Commands = typeof commands
export type CommandName = keyof Commands

type Fields<N extends CommandName> = {
  readonly [F in keyof Commands[N]]: ValueOf[Commands[N][F] & FieldType]
}

/** A command of one name, or of any. */
export type CommandOf<N extends CommandName> = { readonly command: N } & Fields<N>
export type Command = { [N in CommandName]: CommandOf<N> }[CommandName]

/** The same as a map: what is read may name anything that every object has. */
const known = new Map<string, Readonly<Record<string, FieldType>>>(Object.entries(commands))

/** Whether a field of a command holds a table. */
export function isTable({ command }: Command, field: string): boolean {
  return known.get(command)?.[field] === 'table'
}

/** What a user lacks that was set up before there were permissions: the empty algorithm tells it. */
const olderUser: FieldTable = [
  { key: 'algorithm', value: fieldValue('') },
  { key: 'tags', value: fieldValue(['administrator']) },
  { key: 'limits', value: fieldValue(encodeTable([])) },
]

/** The bytes of a command. */
export function encodeCommand(command: Command): Buffer {
  const fields: FieldTable = Object.entries(command).map(([key, value]) => ({
    key,
    value: fieldValue(isTable(command, key) ? encodeTable(value) : value),
  }))
  return encodeTable(fields)
}

/** Reads the command in `bytes[start..end)`; throws an Error that says what cannot be understood. */
export function decodeCommand(bytes: Buffer, start: number, end: number): Command {
  const table = readTable(bytes, start, end)
  if (table === undefined) throw new Error('a definition is no field table')
  const name = textOf(lookup(table, 'command'))
  const shape = known.get(name ?? '')
  if (name === undefined || shape === undefined)
    throw new Error(`a definition has a command that this version does not know: '${name}'`)
  const fields = name === 'user.set' ? [...table, ...olderUser] : table
  const command: Record<string, unknown> = { command: name }
  for (const [key, type] of Object.entries(shape)) {
    const value = plain(type, lookup(fields, key))
    if (value === undefined) throw new Error(`the definition '${name}' has no ${type} '${key}'`)
    command[key] = value
  }
  return command as Command
}

/** The value of a field as its type has it; undefined if it is none of this type. */
function plain(type: FieldType, value: FieldValue | undefined): ValueOf[FieldType] | undefined {
  if (type === 'text') return textOf(value)
  if (type === 'flag') return value?.type === 't' ? value.value : undefined
  if (type === 'number?' && value === undefined) return 0
  if (type === 'number' || type === 'number?')
    return typeof value?.value === 'number' ? value.value : undefined
  if (type === 'texts') return value?.type === 'A' ? textsIn(value.value) : undefined
  return value?.type === 'x' ? readTable(value.value, 0, value.value.length) : undefined
}

function textsIn(items: FieldArray): readonly string[] | undefined {
  const texts = items.map(textOf)
  return texts.every(text => text !== undefined) ? texts : undefined
}

function encodeTable(table: FieldTable): Buffer {
  const bytes = Buffer.allocUnsafe(tableSize(table))
  writeTable(bytes, 0, table)
  return bytes
}

function readTable(bytes: Buffer, start: number, end: number): FieldTable | undefined {
  const whole = end - start >= 4 && bytes.readUInt32BE(start) === end - start - 4
  return whole && checkTable(bytes, start + 4, end) ? decodeTable(bytes, start + 4, end) : undefined
}
