/**
 * What a RabbitMQ was asked over HTTP and answered, asked again here in the same order: the same
 * status, the same error and reason, answers with the same names and types. What differs on
 * purpose stands in transcript-exceptions.ts.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startBroker } from '../../src/index.js'
import { exceptions } from './transcript-exceptions.js'

interface Transcript {
  readonly request: {
    readonly method: string
    readonly path: string
    readonly body?: unknown
    readonly raw_body?: string
    /** Absent: an administrator; null: nobody. */
    readonly user?: string | null
    readonly headers?: Readonly<Record<string, string>>
  }
  readonly response: {
    readonly status: number
    readonly body: unknown
    readonly location?: string
    readonly allow?: string
    readonly 'www-authenticate'?: string
  }
  readonly note?: string
}

const file = fileURLToPath(new URL('../../../spec/management/transcripts.json', import.meta.url))
const transcripts: readonly Transcript[] = JSON.parse(readFileSync(file, 'utf8'))

/** The passwords of the recorded users are their names. */
function credentials({ request, note }: Transcript): Record<string, string> {
  if (request.user === null) return {}
  const user = request.user ?? 'guest'
  const password = note === 'bad password' ? 'wrong' : user
  return { authorization: `Basic ${btoa(`${user}:${password}`)}` }
}

/** Names and types within an answer: what is missing, or of another type. */
function differences(wanted: unknown, found: unknown, path = ''): string[] {
  if (typeof wanted === 'string' && wanted.startsWith('…')) return []
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found)) return [`${path} is no list`]
    // Of a list the first is like the others.
    return wanted.length === 0 || found.length === 0
      ? []
      : differences(wanted[0], found[0], `${path}[0]`)
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof found !== 'object' || found === null) return [`${path} is no object`]
    return Object.entries(wanted).flatMap(([key, value]) =>
      key in found
        ? differences(value, (found as Record<string, unknown>)[key], `${path}.${key}`)
        : [`${path}.${key} is missing`],
    )
  }
  return typeof wanted === typeof found ? [] : [`${path} is a ${typeof found}`]
}

t.test('the management API answers as a RabbitMQ did', async t => {
  const broker = await startBroker({ managementPort: 0 })
  t.teardown(() => broker.close())
  const unused = new Set(exceptions.keys())
  for (const [i, transcript] of transcripts.entries()) {
    const { request, response, note } = transcript
    const { method, path, body, raw_body: raw } = request
    const title = `${i} ${method} ${path}${note === undefined ? '' : ` (${note})`}`
    const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const answer = await fetch(`${broker.managementUrl}${path}`, {
      method,
      headers: { ...credentials(transcript), ...request.headers },
      ...(sent !== undefined && { body: sent }),
    })
    const text = await answer.text()
    const exception = exceptions.get(i)
    unused.delete(i)
    if (exception !== undefined) {
      t.equal(
        `${answer.status} ${text}`.slice(0, exception.answers.length),
        exception.answers,
        title,
      )
      continue
    }
    t.equal(answer.status, response.status, title)
    const found = text === '' ? null : JSON.parse(text)
    if (response.status >= 400) t.strictSame(found, response.body, title)
    else t.strictSame(differences(response.body, found), [], title)
    for (const header of ['location', 'allow', 'www-authenticate'] as const)
      if (response[header] !== undefined && response.status !== 401)
        t.equal(answer.headers.get(header), response[header], `${title}: ${header}`)
  }
  t.strictSame([...unused], [], 'every exception is one')
})
