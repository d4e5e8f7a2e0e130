/** All routes of the management API. */
import type { Broker } from '../broker/broker.js'
import { bindingRoutes } from './bindings.js'
import { connectionRoutes } from './connections.js'
import { definitionRoutes } from './definitions.js'
import { exchangeRoutes } from './exchanges.js'
import { healthRoutes } from './health.js'
import { messageRoutes } from './messages.js'
import { type NodeFacts, overviewRoutes } from './overview.js'
import { permissionRoutes } from './permissions.js'
import { policyRoutes } from './policies.js'
import { queueRoutes } from './queues.js'
import type { Route } from './route.js'
import { userRoutes } from './users.js'
import { vhostRoutes } from './vhosts.js'

export function routesOf(broker: Broker, facts: NodeFacts): readonly Route[] {
  return [
    ...overviewRoutes(broker, facts),
    ...healthRoutes(broker, facts.name, facts.listening),
    ...vhostRoutes(broker, facts.name),
    ...userRoutes(broker),
    ...permissionRoutes(broker),
    ...policyRoutes(broker),
    ...exchangeRoutes(broker),
    ...queueRoutes(broker, facts.name),
    ...bindingRoutes(broker),
    ...connectionRoutes(broker, facts.name),
    ...messageRoutes(broker),
    ...definitionRoutes(broker, facts),
  ]
}
