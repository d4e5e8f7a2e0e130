/** Who asks the management API, and what its tags let it see. */
import type { Access } from '../broker/access/access.js'
import type { User } from '../broker/access/users.js'
import type { Vhost } from '../broker/vhost.js'
import { Refusal } from './refusal.js'
import type { Allowed } from './route.js'

/** For each level, the tags which have it, and what RabbitMQ says to who has none of them. */
const levels: Readonly<
  Record<Exclude<Allowed, 'anyone'>, { readonly tags: readonly string[]; readonly refusal: string }>
> = {
  management: {
    tags: ['management', 'policymaker', 'monitoring', 'administrator'],
    refusal: 'Not management user',
  },
  policymaker: {
    tags: ['policymaker', 'administrator'],
    refusal: 'User not authorised to access object',
  },
  monitoring: { tags: ['monitoring', 'administrator'], refusal: 'Not monitor user' },
  administrator: { tags: ['administrator'], refusal: 'Not administrator user' },
}

export class Visitor {
  readonly name: string
  readonly tags: readonly string[]
  readonly #access: Access

  constructor(user: Pick<User, 'name' | 'tags'>, access: Access) {
    this.name = user.name
    this.tags = user.tags
    this.#access = access
  }

  has(level: Exclude<Allowed, 'anyone'>): boolean {
    return levels[level].tags.some(tag => this.tags.includes(tag))
  }

  /** It may publish in the name of others. */
  get impersonates(): boolean {
    return this.tags.includes('impersonator')
  }

  /** Refuses who has not one of the tags that it takes (401, as RabbitMQ does). */
  mustHave(level: Allowed): void {
    if (level === 'anyone' || this.has(level)) return
    throw new Refusal(401, 'not_authorised', levels[level].refusal)
  }

  /** Whether a vhost shows in its lists: where it may do something, or everywhere if it monitors. */
  sees({ name }: Vhost): boolean {
    return this.has('monitoring') || this.uses(name)
  }

  /** Whether it may do something in a vhost. */
  uses(vhost: string): boolean {
    return this.#access.permissions.of(this.name, vhost) !== undefined
  }

  /** Whether it may ask for what is in a vhost: RabbitMQ 4 hides the others from all but administrators. */
  reaches(vhost: Vhost): boolean {
    return this.has('administrator') || this.uses(vhost.name)
  }

  /** The vhosts it sees, in the order of their names. */
  vhosts(): Vhost[] {
    const all = [...this.#access.vhosts.values()].filter(vhost => this.sees(vhost))
    return all.sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}
