/** What the management API answers to: routes as plain tables, which know nothing of the server they stand on. */
import type { Query } from './listing.js'
import { badRequest } from './refusal.js'
import type { Visitor } from './visitor.js'

/** Who may ask: RabbitMQ's tags, each of which may do what those before it may. */
export type Allowed = 'anyone' | 'management' | 'policymaker' | 'monitoring' | 'administrator'

/** Segments of a path that stand for something, decoded once. */
export interface Params {
  readonly vhost?: string
  readonly user?: string
  readonly exchange?: string
  readonly queue?: string
  readonly connection?: string
  readonly channel?: string
  readonly source?: string
  readonly destination?: string
  /** A binding's name between its two ends. */
  readonly key?: string
  /** Which end of a binding. */
  readonly end?: string
  /** Of a limit, a policy, a parameter. */
  readonly name?: string
  /** Of a delayed message. */
  readonly number?: string
  readonly port?: string
  readonly protocols?: string
  readonly within?: string
  readonly unit?: string
}

/** A JSON object that came with a request. */
export interface Body {
  readonly [key: string]: unknown
  readonly tags?: unknown
  readonly node?: unknown
  readonly priority?: unknown
  readonly payload?: unknown
  readonly payload_encoding?: unknown
  readonly ackmode?: unknown
  readonly ack_mode?: unknown
  readonly requeue?: unknown
  readonly truncate?: unknown
  readonly password?: unknown
  readonly password_hash?: unknown
}

/** A request to one route. */
export interface Call {
  readonly visitor: Visitor
  readonly params: Params
  readonly query: Query
  /** Empty without one. */
  readonly body: Body
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** An answer other than 200 with a JSON body. */
export class Answer {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
    this.status = status
    this.body = body
    this.headers = headers
  }
}

export const created = (location?: string): Answer =>
  new Answer(201, undefined, location === undefined ? {} : { location })

export const noContent = new Answer(204)

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Below /api; a segment that begins with a colon is a parameter. */
  readonly path: string
  readonly allowed: Allowed
  /** One sentence, for who reads the description of the API. */
  readonly does: string
  /** What is said of a body that is no JSON object; unless told otherwise `not_json`. */
  readonly malformed?: string
  /** Returns the body of a 200, or an Answer; refuses with a Refusal or an AmqpError. */
  readonly handle: (call: Call) => unknown
}

// --- what handlers ask of bodies

/** A value that must be there. */
export function required(call: Call, key: string): unknown {
  if (!Object.hasOwn(call.body, key)) throw badRequest(`[{key_missing,${key}}]`)
  return call.body[key]
}

/** A text; absent it is `absent`, which is refused if there is none. */
export function text(call: Call, key: string, absent?: string): string {
  if (absent !== undefined && (call.body[key] ?? null) === null) return absent
  const value = required(call, key)
  if (typeof value !== 'string') throw badRequest(`${key} is not a string`)
  return value
}

/** A flag; the words true and false are as good. */
export function flag(call: Call, key: string, absent: boolean): boolean {
  const value = call.body[key]
  if (value === undefined || value === null) return absent
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw badRequest(`not_boolean: ${String(value)}`)
}

/** A JSON object; absent it is empty. */
export function table(call: Call, key: string): Readonly<Record<string, unknown>> {
  const value = call.body[key] ?? {}
  if (typeof value !== 'object' || Array.isArray(value)) throw badRequest(`${key} is not an object`)
  return value as Readonly<Record<string, unknown>>
}
