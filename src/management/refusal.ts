/** Why a request of the management API is refused: an HTTP status, and RabbitMQ's two words for it. */
export class Refusal extends Error {
  readonly status: number
  /** The kind of error, for programs. */
  readonly error: string
  readonly reason: string

  constructor(status: number, error: string, reason: string) {
    super(`${status} ${error}: ${reason}`)
    this.status = status
    this.error = error
    this.reason = reason
  }
}

export const badRequest = (reason: string): Refusal => new Refusal(400, 'bad_request', reason)

/** What was asked for is not there, or nobody's business. */
export const notFound = (reason = 'Not Found'): Refusal =>
  reason === 'Not Found'
    ? new Refusal(404, 'Object Not Found', reason)
    : new Refusal(404, 'not_found', reason)

/** RabbitMQ answers 401 to who is known and may not, where others would answer 403. */
export const notAuthorised = (reason: string): Refusal => new Refusal(401, 'not_authorised', reason)
