/** The open connections of all clients: how many a vhost or a user has, and who must go with them. */
import type { AmqpError } from '../wire/replies.js'
import type { SessionDescription } from './session-description.js'

/** An open connection, as the broker sees it. */
export interface Session {
  readonly user: string
  readonly vhostName: string
  readonly channelCount: number
  readonly name: string
  describe(): SessionDescription
  /** Ends it from our side, for example CONNECTION_FORCED. */
  close(error: AmqpError): void
}

export class Sessions {
  readonly #all = new Set<Session>()
  readonly #byVhost = new Map<string, Set<Session>>()
  readonly #byUser = new Map<string, Set<Session>>()

  get all(): ReadonlySet<Session> {
    return this.#all
  }

  add(session: Session): void {
    this.#all.add(session)
    into(this.#byVhost, session.vhostName).add(session)
    into(this.#byUser, session.user).add(session)
  }

  delete(session: Session): void {
    if (!this.#all.delete(session)) return
    outOf(this.#byVhost, session.vhostName, session)
    outOf(this.#byUser, session.user, session)
  }

  inVhost(name: string): ReadonlySet<Session> {
    return this.#byVhost.get(name) ?? none
  }

  ofUser(name: string): ReadonlySet<Session> {
    return this.#byUser.get(name) ?? none
  }

  /** Channels of all of them. */
  get channelCount(): number {
    return channelsOf(this.#all)
  }

  channelsOfUser(name: string): number {
    return channelsOf(this.ofUser(name))
  }
}

const none: ReadonlySet<Session> = new Set()

function channelsOf(sessions: ReadonlySet<Session>): number {
  let count = 0
  for (const { channelCount } of sessions) count += channelCount
  return count
}

function into(map: Map<string, Set<Session>>, key: string): Set<Session> {
  const sessions = map.get(key) ?? new Set()
  map.set(key, sessions)
  return sessions
}

function outOf(map: Map<string, Set<Session>>, key: string, session: Session): void {
  const sessions = map.get(key)
  sessions?.delete(session)
  if (sessions?.size === 0) map.delete(key)
}
