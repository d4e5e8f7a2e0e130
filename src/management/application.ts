/**
 * The management API on Fastify, which is loaded only when the first request comes: most brokers
 * in tests never get one, and it takes longer than all the rest of a start.
 *
 * What all requests have in common is here: logging in, rights, bodies, errors, and that a path
 * that exists answers 405 to a method that it has not.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Broker } from '../broker/broker.js'
import { AmqpError } from '../wire/replies.js'
import type { Query } from './listing.js'
import { challenge, Login, LoginWanted } from './login.js'
import { badRequest, notFound, Refusal } from './refusal.js'
import { Answer, type Body, type Call, type Params, type Route } from './route.js'
import { Visitor } from './visitor.js'

const bodyMax = 20_000_000

/** Longer than any name that AMQP can carry, percent-encoded. */
const segmentMax = 3 * 255

const methods = ['GET', 'PUT', 'POST', 'DELETE'] as const

/** Builds the application that answers to these routes. */
export async function application(
  broker: Broker,
  routes: readonly Route[],
): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: bodyMax,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: segmentMax },
    exposeHeadRoutes: true,
    forceCloseConnections: true,
  })
  app.removeAllContentTypeParsers()
  // Whatever it says of itself, or nothing: RabbitMQ does not look.
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-cache')
    reply.header('vary', 'accept, accept-encoding, origin')
  })
  app.setErrorHandler((error: Error, _request, reply) => refuse(broker, error, reply))
  app.setNotFoundHandler((_request, reply) => refuse(broker, notFound(), reply))

  const login = new Login(broker.access, broker.world.clock)
  for (const path of new Set(routes.map(route => route.path))) {
    const ofPath = routes.filter(route => route.path === path)
    const url = `/api${path}`
    for (const route of ofPath)
      app.route({
        method: route.method,
        url,
        handler: async (request, reply) => {
          const visitor = await visitorOf(broker, login, route, request)
          const result = await route.handle(callOf(visitor, request, route.malformed))
          if (route.method !== 'GET') await settled(broker)
          return answer(reply, result)
        },
      })
    const has = ofPath.map(({ method }) => method)
    const allow = [...(has.includes('GET') ? ['HEAD'] : []), ...has, 'OPTIONS'].join(', ')
    app.route({
      method: 'OPTIONS',
      url,
      handler: (_request, reply) => reply.header('allow', allow).send(),
    })
    app.route({
      method: methods.filter(method => !has.includes(method)),
      url,
      handler: (_request, reply) => reply.code(405).header('allow', allow).send(),
    })
  }
  await app.ready()
  return app
}

/** Resolves when all that was changed so far is there for good: nothing is answered before. */
async function settled({ definitions }: Broker): Promise<void> {
  await new Promise<void>(resolve => definitions.whenDurable(definitions.last, resolve))
}

const nobody = { name: '', tags: [] }

async function visitorOf(
  broker: Broker,
  login: Login,
  route: Route,
  request: FastifyRequest,
): Promise<Visitor> {
  if (route.allowed === 'anyone') return new Visitor(nobody, broker.access)
  const { authorization } = request.headers
  const visitor = await login.visitor(authorization, request.socket.remoteAddress ?? '')
  visitor.mustHave('management')
  visitor.mustHave(route.allowed)
  return visitor
}

function callOf(visitor: Visitor, request: FastifyRequest, malformed = 'not_json'): Call {
  return {
    visitor,
    params: request.params as Params,
    query: request.query as Query,
    body: bodyOf(request.body, malformed),
    headers: request.headers,
  }
}

/** The object in a body; an empty one for no body, and for what old clients send instead of none. */
function bodyOf(body: unknown, malformed: string): Body {
  if (typeof body !== 'string' || body === '' || body === 'null' || body === 'undefined') return {}
  const value = parsed(body, malformed)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(malformed)
  return value as Body
}

function parsed(text: string, malformed: string): unknown {
  try {
    // Windows likes to put a byte order mark in front.
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    throw badRequest(malformed)
  }
}

function answer(reply: FastifyReply, result: unknown): FastifyReply {
  if (!(result instanceof Answer)) return json(reply, result)
  for (const [name, value] of Object.entries(result.headers)) reply.header(name, value)
  reply.code(result.status)
  return result.body === undefined ? reply.send() : json(reply, result.body)
}

function json(reply: FastifyReply, body: unknown): FastifyReply {
  return reply.type('application/json').send(JSON.stringify(body))
}

/** The answer to what went wrong. */
function refuse(broker: Broker, error: Error, reply: FastifyReply): FastifyReply {
  if (error instanceof LoginWanted) return reply.code(401).headers(challenge).send()
  const refusal = refusalOf(error)
  if (refusal === null) {
    broker.world.log.error({ err: error }, 'a request to the management API failed')
    return reply.code(500).send()
  }
  const { status, error: kind, reason } = refusal
  return json(reply.code(status), { error: kind, reason })
}

/** What AMQP would refuse, the API refuses with the same text. */
function refusalOf(error: Error & { statusCode?: number }): Refusal | null {
  if (error instanceof Refusal) return error
  if (error instanceof AmqpError) {
    if (error.reply === 'NOT_FOUND') return notFound(explanation(error))
    if (error.reply === 'ACCESS_REFUSED')
      return new Refusal(401, 'not_authorised', 'Access refused.')
    return badRequest(explanation(error))
  }
  if (error.statusCode === 413) return badRequest('Exceeded HTTP request body size limit')
  if (error.statusCode !== undefined && error.statusCode < 500) return badRequest(error.message)
  return null
}

/** What an AMQP refusal says behind the name of its reply. */
function explanation({ reply, message }: AmqpError): string {
  return message.slice(`${reply} - `.length)
}
