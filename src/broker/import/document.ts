/**
 * A document of definitions as RabbitMQ exports them (`rabbitmqctl export_definitions`, GET
 * /api/definitions), of all versions from 3.5 to 4.x: read into parts, with all that is wrong with
 * its form. What is not known is passed over.
 */

import type { FieldTable } from '../../wire/field-table.js'
import { fieldValue, lookup } from '../../wire/field-table.js'
import type { Credentials } from '../access/access.js'
import type { Limits } from '../access/limits.js'
import { type HashAlgorithm, isHashAlgorithm, usualAlgorithm } from '../access/passwords.js'
import type { Permission, TopicPermission } from '../access/permissions.js'
import type { ExchangeRequest } from '../exchanges/by-type.js'
import type { PolicyKind } from '../policies/definition.js'
import type { PolicyRequest } from '../policies/policy.js'
import type { VhostMetadata } from '../vhost.js'
import { itemsOf, JsonItem, type JsonObject } from './json-item.js'

/** Something that a document defines, and where it stands in it. */
export type Part<T> = T & { readonly item: JsonItem }

export interface UserPart {
  readonly name: string
  readonly credentials: Credentials
  readonly tags: readonly string[]
  /** Null: they stay as they are. */
  readonly limits: Limits | null
}

export interface VhostPart {
  readonly name: string
  readonly metadata: VhostMetadata
  readonly limits: Limits
}

export interface QueuePart {
  readonly vhost: string
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly arguments: FieldTable
}

export interface BindingPart {
  readonly vhost: string
  readonly source: string
  readonly kind: 'queue' | 'exchange'
  readonly destination: string
  readonly key: string
  readonly arguments: FieldTable
}

/** Limits of a vhost that stand among the parameters. */
export interface LimitsPart {
  readonly vhost: string
  readonly limits: Limits
}

export interface PolicyPart {
  readonly vhost: string
  readonly kind: PolicyKind
  readonly name: string
  readonly request: PolicyRequest
}

export interface DefinitionsDocument {
  readonly users: readonly Part<UserPart>[]
  readonly vhosts: readonly Part<VhostPart>[]
  readonly permissions: readonly Part<Permission>[]
  readonly topicPermissions: readonly Part<TopicPermission>[]
  readonly vhostLimits: readonly Part<LimitsPart>[]
  readonly policies: readonly Part<PolicyPart>[]
  readonly exchanges: readonly Part<ExchangeRequest & { readonly vhost: string }>[]
  readonly queues: readonly Part<QueuePart>[]
  readonly bindings: readonly Part<BindingPart>[]
  /** What is not supported and left out, as lines for the log. */
  readonly leftOut: readonly string[]
}

/** Parameters of a cluster that mean nothing here, and need no word. */
const ofTheCluster = ['cluster_name', 'internal_cluster_id', 'cluster_tags', 'mqtt_default_vhosts']

/** A document that was parsed, and where it came from. */
export interface DefinitionsSource {
  /** For messages: a path, or what else gave it. */
  readonly from: string
  readonly value: unknown
}

/** Several documents as one, in their order; what is wrong with their form joins `problems`. */
export function readDocuments(
  sources: readonly DefinitionsSource[],
  problems: string[],
): DefinitionsDocument {
  const documents = sources.map(source => readDocument(source, problems))
  return {
    users: documents.flatMap(({ users }) => users),
    vhosts: documents.flatMap(({ vhosts }) => vhosts),
    permissions: documents.flatMap(({ permissions }) => permissions),
    topicPermissions: documents.flatMap(({ topicPermissions }) => topicPermissions),
    vhostLimits: documents.flatMap(({ vhostLimits }) => vhostLimits),
    policies: documents.flatMap(({ policies }) => policies),
    exchanges: documents.flatMap(({ exchanges }) => exchanges),
    queues: documents.flatMap(({ queues }) => queues),
    bindings: documents.flatMap(({ bindings }) => bindings),
    leftOut: documents.flatMap(({ leftOut }) => leftOut),
  }
}

function readDocument({ from, value }: DefinitionsSource, problems: string[]): DefinitionsDocument {
  const document = new JsonItem(from, value, problems)
  const items = (section: string) => itemsOf(document, section, problems)
  const leftOut: string[] = []
  const oldHashes = /^[0-2]\.|^3\.[0-5]\./.test(document.text('rabbitmq_version', ''))
  const parameters = items('parameters').map(item => ({
    item,
    component: item.text('component'),
    name: item.text('name', ''),
  }))
  for (const { item, component, name } of parameters)
    if (component !== 'vhost-limits' && component !== 'operator_policy')
      leftOut.push(`${item.path}: '${name}' of component '${component}' is not supported`)
  for (const item of items('global_parameters'))
    if (!ofTheCluster.includes(item.text('name')))
      leftOut.push(`${item.path}: the global parameter '${item.text('name')}' is not supported`)
  return {
    users: items('users').map(item => userOf(item, oldHashes)),
    vhosts: items('vhosts').map(vhostOf),
    permissions: items('permissions').map(item => ({
      item,
      user: item.text('user'),
      vhost: item.text('vhost'),
      configure: item.text('configure'),
      write: item.text('write'),
      read: item.text('read'),
    })),
    topicPermissions: items('topic_permissions').map(item => ({
      item,
      user: item.text('user'),
      vhost: item.text('vhost'),
      exchange: item.text('exchange'),
      write: item.text('write'),
      read: item.text('read'),
    })),
    vhostLimits: parameters
      .filter(({ component }) => component === 'vhost-limits')
      .map(({ item }) => ({ item, vhost: item.text('vhost'), limits: item.numbers('value') })),
    policies: [
      ...items('policies').map(item => policyOf(item, 'policy', item.text('name'), item.fields)),
      ...parameters
        .filter(({ component }) => component === 'operator_policy')
        .map(({ item, name }) => policyOf(item, 'operator_policy', name, item.object('value'))),
    ],
    exchanges: items('exchanges').map(item => ({
      item,
      vhost: item.text('vhost'),
      name: item.text('name'),
      type: item.text('type'),
      durable: item.flag('durable', true),
      autoDelete: item.flag('auto_delete', false),
      internal: item.flag('internal', false),
      arguments: item.table('arguments'),
    })),
    queues: items('queues').map(queueOf),
    bindings: items('bindings').map(bindingOf),
    leftOut,
  }
}

function policyOf(
  item: JsonItem,
  kind: PolicyKind,
  name: string,
  { pattern, definition, priority, 'apply-to': applyTo }: JsonObject,
): Part<PolicyPart> {
  const vhost = item.text('vhost')
  return { item, vhost, kind, name, request: { pattern, definition, priority, applyTo } }
}

function userOf(item: JsonItem, oldHashes: boolean): Part<UserPart> {
  return {
    item,
    name: item.text('name'),
    credentials: credentialsOf(item, oldHashes),
    tags: item.words('tags'),
    limits: item.has('limits') ? item.numbers('limits') : null,
  }
}

/** A missing algorithm is that of the version that exported it. */
function credentialsOf(item: JsonItem, oldHashes: boolean): Credentials {
  const { password, password_hash: hash, hashing_algorithm: named } = item.fields
  const given = (value: unknown) => value !== undefined && value !== null
  if (given(password)) {
    if (given(hash)) item.problem(null, 'both password and password_hash are given')
    return { password: item.text('password') }
  }
  const passwordHash = item.text('password_hash', '')
  const usual = oldHashes ? 'rabbit_password_hashing_md5' : usualAlgorithm
  const algorithm = given(named) ? item.text('hashing_algorithm') : usual
  if (passwordHash === '') return null
  if (isHashAlgorithm(algorithm)) return { passwordHash, algorithm }
  item.problem('hashing_algorithm', `'${algorithm}' is not known`)
  return { passwordHash, algorithm: usual satisfies HashAlgorithm }
}

/** What 4.x tells of a vhost stands in its metadata, what 3.x tells beside it. */
function vhostOf(item: JsonItem): Part<VhostPart> {
  const metadata = { ...item.fields, ...item.object('metadata') }
  const told = item.with(metadata)
  const defaultQueueType = told.text('default_queue_type', '')
  return {
    item,
    name: item.text('name'),
    metadata: {
      description: told.text('description', ''),
      tags: told.words('tags'),
      defaultQueueType: defaultQueueType === 'undefined' ? '' : defaultQueueType,
    },
    limits: item.numbers('limits'),
  }
}

function queueOf(item: JsonItem): Part<QueuePart> {
  const table = item.table('arguments')
  const type = item.text('type', '')
  const named = type === '' || type === 'classic' || lookup(table, 'x-queue-type') !== undefined
  return {
    item,
    vhost: item.text('vhost'),
    name: item.text('name'),
    durable: item.flag('durable', true),
    autoDelete: item.flag('auto_delete', false),
    arguments: named ? table : [...table, { key: 'x-queue-type', value: fieldValue(type) }],
  }
}

function bindingOf(item: JsonItem): Part<BindingPart> {
  const kind = item.text('destination_type')
  if (kind !== 'queue' && kind !== 'exchange')
    item.problem('destination_type', 'must be queue or exchange')
  return {
    item,
    vhost: item.text('vhost'),
    source: item.text('source'),
    kind: kind === 'exchange' ? 'exchange' : 'queue',
    destination: item.text('destination'),
    key: item.text('routing_key', ''),
    arguments: item.table('arguments'),
  }
}
