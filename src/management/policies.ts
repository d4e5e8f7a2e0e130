/** Policies of users and of the operator over HTTP. */
import type { Broker } from '../broker/broker.js'
import type { PolicyKind } from '../broker/policies/definition.js'
import type { Policy } from '../broker/policies/policy.js'
import type { Vhost } from '../broker/vhost.js'
import { AmqpError } from '../wire/replies.js'
import { type Item, listed, projected } from './listing.js'
import { badRequest, notFound } from './refusal.js'
import { type Call, created, noContent, type Route, required } from './route.js'
import { vhostForChange, vhostOf } from './vhosts.js'

export function policyItem(vhost: Vhost, policy: Policy): Item {
  const { name, pattern, applyTo, definition, priority } = policy
  return {
    vhost: vhost.name,
    name,
    pattern,
    'apply-to': applyTo,
    definition: Object.fromEntries(definition),
    priority,
  }
}

function policyItems(vhosts: readonly Vhost[], kind: PolicyKind): Item[] {
  return vhosts.flatMap(vhost =>
    [...vhost.policies.all(kind)]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(policy => policyItem(vhost, policy)),
  )
}

export function policyRoutes(broker: Broker): readonly Route[] {
  return [
    ...routesFor(broker, '/policies', 'policy', 'policymaker', 'a policy'),
    ...routesFor(
      broker,
      '/operator-policies',
      'operator_policy',
      'administrator',
      "an operator's policy",
    ),
  ]
}

function routesFor(
  broker: Broker,
  path: string,
  kind: PolicyKind,
  changes: Route['allowed'],
  what: string,
): readonly Route[] {
  return [
    {
      method: 'GET',
      path,
      allowed: 'management',
      does: `Lists what there is of ${what} in all vhosts that the user sees.`,
      handle: ({ visitor, query }) => listed(policyItems(visitor.vhosts(), kind), query),
    },
    {
      method: 'GET',
      path: `${path}/:vhost`,
      allowed: 'management',
      does: `Lists what there is of ${what} in a vhost.`,
      handle: call => listed(policyItems([vhostOf(broker, call)], kind), call.query),
    },
    {
      method: 'GET',
      path: `${path}/:vhost/:name`,
      allowed: 'management',
      does: `Shows ${what}.`,
      handle: call => {
        const vhost = vhostOf(broker, call)
        return projected(policyItem(vhost, policyOf(vhost, kind, call)), call.query)
      },
    },
    {
      method: 'PUT',
      path: `${path}/:vhost/:name`,
      allowed: changes,
      does: `Sets ${what}.`,
      handle: call => {
        const vhost = vhostForChange(broker, call)
        const name = call.params.name ?? ''
        const existed = vhost.policies.get(kind, name) !== undefined
        const request = {
          pattern: required(call, 'pattern'),
          definition: required(call, 'definition'),
          priority: call.body.priority ?? 0,
          applyTo: call.body['apply-to'] ?? 'all',
        }
        set(vhost, kind, name, request, call.visitor.name)
        return existed ? noContent : created()
      },
    },
    {
      method: 'DELETE',
      path: `${path}/:vhost/:name`,
      allowed: changes,
      does: `Removes ${what}.`,
      handle: call => {
        const vhost = vhostOf(broker, call)
        const { name } = policyOf(vhost, kind, call)
        vhost.policies.remove(kind, name, call.visitor.name)
        return noContent
      },
    },
  ]
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** Sets a policy; one that cannot be is refused as RabbitMQ's API does. */
function set(
  { policies }: Vhost,
  kind: PolicyKind,
  name: string,
  request: Parameters<Vhost['policies']['set']>[2],
  by: string,
): number {
  try {
    return policies.set(kind, name, request, by)
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
    const plain = error.message.slice(`${error.reply} - `.length)
    // RabbitMQ makes these texts safe to stand in a page, but not those of the operator.
    const reasons = kind === 'policy' ? escaped(plain) : plain
    throw badRequest(`Validation failed\n\n${reasons}\n`)
  }
}

function policyOf(vhost: Vhost, kind: PolicyKind, { params }: Call): Policy {
  const policy = vhost.policies.get(kind, params.name ?? '')
  if (policy === undefined) throw notFound()
  return policy
}
