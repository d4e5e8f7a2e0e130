/**
 * Definitions from a document, added to what there is (RabbitMQ's rules): exchanges, queues and
 * bindings that are there already stay as they are, users, permissions and limits are set anew. The
 * whole is rehearsed on vhosts of which nothing is kept before anything is done, so that a document
 * with anything wrong in it changes nothing, and everything wrong is told at once.
 */
import { isDeepStrictEqual } from 'node:util'
import { AmqpError } from '../../wire/replies.js'
import type { Access, Credentials } from '../access/access.js'
import type { Limits } from '../access/limits.js'
import { isHashOf } from '../access/passwords.js'
import type { User } from '../access/users.js'
import type { Broker } from '../broker.js'
import type { Owner } from '../queues/queue.js'
import type { Vhost } from '../vhost.js'
import {
  type BindingPart,
  type DefinitionsDocument,
  type DefinitionsSource,
  type Part,
  readDocuments,
  type UserPart,
} from './document.js'

/** Says everything that is wrong with a document, each with its path in it. */
export class DefinitionsError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'DefinitionsError'
    this.problems = problems
  }
}

/** Nobody's queues are exclusive. */
const nobody: Owner = { owns: () => {}, disowns: () => {} }

/**
 * Adds the definitions of documents to a broker. Returns what was left out, as lines for
 * the log; throws a DefinitionsError.
 */
export function importDefinitions(
  broker: Broker,
  sources: readonly DefinitionsSource[],
): readonly string[] {
  const problems: string[] = []
  const document = readDocuments(sources, problems)
  const leftOut = [...document.leftOut]
  const rehearsal = broker.rehearsal()
  try {
    for (const user of broker.users.all.values()) rehearsal.users.set(user)
    for (const name of broker.access.vhosts.keys()) rehearsal.addVhost(name)
    carryOut(document, rehearsal, broker.access, leftOut)
  } finally {
    rehearsal.clear()
  }
  if (problems.length > 0) throw new DefinitionsError(problems)
  broker.definitions.together(() => carryOut(document, broker.access, broker.access, []))
  if (problems.length > 0) throw new DefinitionsError(problems)
  return leftOut
}

/** Does what a document says to `target`; with another one for what is there already it is a rehearsal. */
function carryOut(
  document: DefinitionsDocument,
  target: Access,
  there: Access,
  leftOut: string[],
): void {
  for (const user of document.users)
    user.item.attempt(null, () => {
      setUser(target, user)
    })
  for (const { item, name, metadata } of document.vhosts)
    item.attempt(null, () => {
      target.addVhost(name)
      if (!isDeepStrictEqual(vhostOf(target, name).metadata, metadata))
        target.describeVhost(name, metadata)
    })
  for (const { item, user, vhost, configure, write, read } of document.permissions)
    item.attempt(null, () => {
      const patterns = { configure, write, read }
      if (!isDeepStrictEqual(target.permissions.of(user, vhost)?.patterns, patterns))
        target.setPermission(user, vhost, patterns)
    })
  for (const { item, vhost, ...request } of document.exchanges)
    item.attempt(null, () => {
      const place = vhostOf(target, vhost)
      if (there.vhosts.get(vhost)?.exchanges.has(request.name)) return
      place.declareExchange(request)
    })
  for (const { item, user, vhost, exchange, write, read } of document.topicPermissions)
    item.attempt(null, () => {
      const patterns = { write, read }
      if (!isDeepStrictEqual(target.permissions.ofTopic(user, vhost, exchange)?.patterns, patterns))
        target.setTopicPermission(user, vhost, exchange, patterns)
    })
  for (const { item, vhost, kind, name, request } of document.policies)
    item.attempt(null, () => {
      vhostOf(target, vhost).policies.set(kind, name, request)
    })
  for (const { item, vhost, ...queue } of document.queues)
    item.attempt(null, () => {
      const place = vhostOf(target, vhost)
      if (there.vhosts.get(vhost)?.queues.has(queue.name)) return
      place.declareQueue({ ...queue, exclusive: false, owner: nobody })
    })
  for (const binding of document.bindings)
    binding.item.attempt(null, () => bind(target, there, binding, leftOut))
  for (const { item, name, limits } of document.vhosts)
    if (Object.keys(limits).length > 0) item.attempt('limits', () => limit(target, name, limits))
  for (const { item, vhost, limits } of document.vhostLimits)
    item.attempt('value', () => limit(target, vhost, limits))
}

function setUser(target: Access, { name, credentials, tags, limits }: UserPart): void {
  const user = target.users.get(name)
  const same =
    user !== undefined && isDeepStrictEqual(user.tags, tags) && logsInWith(user, credentials)
  if (!same) target.setUser(name, credentials, tags)
  if (limits !== null && !isDeepStrictEqual(target.users.get(name)?.limits, limits))
    target.setUserLimits(name, limits)
}

/** Whether a user's password need not be set anew. */
function logsInWith(user: User, credentials: Credentials): boolean {
  const { passwordHash, algorithm } = user
  if (credentials === null) return passwordHash === ''
  if ('password' in credentials)
    return passwordHash !== '' && isHashOf(passwordHash, algorithm, credentials.password)
  return passwordHash === credentials.passwordHash && algorithm === credentials.algorithm
}

function limit(target: Access, vhost: string, limits: Limits): void {
  if (!isDeepStrictEqual(vhostOf(target, vhost).limits, limits))
    target.setVhostLimits(vhost, limits)
}

/** A binding of what is not there is left out, as RabbitMQ does. */
function bind(target: Access, there: Access, binding: Part<BindingPart>, leftOut: string[]): void {
  const { item, source, kind, destination, key, arguments: table } = binding
  const vhost = vhostOf(target, binding.vhost)
  const before = there.vhosts.get(binding.vhost)
  // Every queue is bound to the default exchange.
  if (source === '') return
  const from = vhost.exchanges.get(source) ?? before?.exchanges.get(source)
  const to =
    kind === 'queue'
      ? (vhost.queues.get(destination) ?? before?.queues.get(destination))
      : (vhost.exchanges.get(destination) ?? before?.exchanges.get(destination))
  if (from === undefined || to === undefined)
    leftOut.push(`${item.path}: there is no ${from === undefined ? 'source' : 'destination'}`)
  else if (vhost === before)
    vhost.bindings.bind(source, { kind, name: destination }, key, table, nobody)
  else from.check(key, table, to)
}

function vhostOf(access: Access, name: string): Vhost {
  const vhost = access.vhosts.get(name)
  if (vhost === undefined) throw new AmqpError('NOT_FOUND', `no vhost '${name}'`)
  return vhost
}
