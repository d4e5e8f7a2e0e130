import 'reflect-metadata'
import { Controller, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import {
  type ClientProxy,
  ClientProxyFactory,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  type RmqContext,
  RmqRecordBuilder,
  RpcException,
  Transport,
} from '@nestjs/microservices'
import { connect, type Message } from 'amqplib'
import { firstValueFrom, lastValueFrom, of, toArray } from 'rxjs'
import t, { type Test } from 'tap'
import { openBroker } from '../support/broker.js'
import { openTcpProxy } from '../support/tcp-proxy.js'
import { temporaryQueue } from '../support/temporary.js'
import { eventually } from '../support/waiting.js'

/** What the handlers of the running test have seen. */
let seen: unknown[] = []

@Controller()
class Orders {
  @MessagePattern({ cmd: 'sum' })
  sum(@Payload() numbers: number[]): number {
    return numbers.reduce((sum, n) => sum + n, 0)
  }

  @MessagePattern('several')
  several() {
    return of('one', 'two', 'three')
  }

  @MessagePattern('refused')
  refused(): never {
    throw new RpcException('not today')
  }

  @MessagePattern('header')
  header(@Ctx() context: RmqContext): unknown {
    const { properties } = context.getMessage() as Message
    return { headers: properties.headers, priority: properties.priority }
  }

  @EventPattern('order.created')
  created(@Payload() order: unknown): void {
    seen.push(order)
  }
}

@Controller()
class Manual {
  @EventPattern('work')
  work(@Payload() body: string, @Ctx() context: RmqContext): void {
    const message = context.getMessage() as Message
    const channel = context.getChannelRef()
    seen.push([body, message.fields.redelivered])
    if (body === 'again' && !message.fields.redelivered) channel.nack(message, false, true)
    else channel.ack(message)
  }
}

@Module({ controllers: [Orders] })
class OrdersModule {}

@Module({ controllers: [Manual] })
class ManualModule {}

/** A microservice on the queue, and a client of it. */
async function start(
  t: Test,
  module: new () => object,
  url: string,
  queue: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<ClientProxy> {
  seen = []
  const socketOptions = { reconnectTimeInSeconds: 0.05 }
  const shared = { urls: [url], queue, queueOptions: { durable: true }, socketOptions }
  const service = await NestFactory.createMicroservice(module, {
    transport: Transport.RMQ,
    options: { ...shared, prefetchCount: 2, ...options },
    logger: false,
  })
  await service.listen()
  const client = ClientProxyFactory.create({ transport: Transport.RMQ, options: shared })
  await client.connect()
  t.teardown(async () => {
    await client.close()
    await service.close()
  })
  return client
}

t.test('a request is answered, over direct reply-to', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, OrdersModule, broker.url, queue)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => firstValueFrom(client.send({ cmd: 'sum' }, [n, n, 1]))),
  )
  t.same(
    answers,
    Array.from({ length: 20 }, (_, n) => 2 * n + 1),
  )
})

t.test('a stream of answers comes in order and ends', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, OrdersModule, broker.url, queue)
  const answers = await lastValueFrom(client.send('several', {}).pipe(toArray()))
  t.same(answers, ['one', 'two', 'three'])
})

t.test('an exception of the handler is the error of the request', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, OrdersModule, broker.url, queue)
  await t.rejects(firstValueFrom(client.send('refused', {})), { message: 'not today' })
  const unknown = await firstValueFrom(client.send('nobody', {})).catch(error => error)
  t.match(unknown, 'There is no matching message handler')
})

t.test('options of a record reach the handler as properties', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, OrdersModule, broker.url, queue)
  const record = new RmqRecordBuilder('')
    .setOptions({ headers: { 'x-version': '1.0.0' }, priority: 3 })
    .build()
  t.same(await firstValueFrom(client.send('header', record)), {
    headers: { 'x-version': '1.0.0' },
    priority: 3,
  })
})

t.test('events arrive, in order and without an answer', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, OrdersModule, broker.url, queue)
  for (let id = 0; id < 10; id += 1)
    await lastValueFrom(client.emit('order.created', { id }), { defaultValue: null })
  await eventually('ten events', () => seen.length === 10)
  t.same(
    seen,
    Array.from({ length: 10 }, (_, id) => ({ id })),
  )
})

t.test('a handler that acknowledges by itself can have an event again', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const client = await start(t, ManualModule, broker.url, queue, { noAck: false, prefetchCount: 1 })
  await lastValueFrom(client.emit('work', 'again'), { defaultValue: null })
  await lastValueFrom(client.emit('work', 'last'), { defaultValue: null })
  await eventually('three deliveries', () => seen.length === 3)
  t.same(seen, [
    ['again', false],
    ['again', true],
    ['last', false],
  ])
})

t.test('an event finds its handler by a wildcard', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const exchange = `${queue}.exchange`
  t.teardown(() => removeExchange(broker.url, exchange))
  const topic = { wildcards: true, exchange, exchangeType: 'topic' }
  seen = []
  await start(t, OrdersModule, broker.url, queue, topic)
  const client = ClientProxyFactory.create({
    transport: Transport.RMQ,
    options: { urls: [broker.url], wildcards: true, exchange },
  })
  t.teardown(() => client.close())
  await lastValueFrom(client.emit('order.created', { id: 1 }), { defaultValue: null })
  await eventually('the event', () => seen.length === 1)
  t.same(seen, [{ id: 1 }])
})

t.test('service and client go on after their connections were cut', async t => {
  const broker = await openBroker(t)
  const queue = temporaryQueue(t, broker, 'nestjs')
  const proxy = await openTcpProxy(t, broker)
  const client = await start(t, OrdersModule, proxy.url, queue)
  t.equal(await firstValueFrom(client.send({ cmd: 'sum' }, [1])), 1)
  proxy.sever()
  await eventually('new connections', () => proxy.links.length >= 4)
  const answer = await eventually('an answer', () =>
    firstValueFrom(client.send({ cmd: 'sum' }, [2])).catch(() => undefined),
  )
  t.equal(answer, 2)
})

async function removeExchange(url: string, exchange: string): Promise<void> {
  const connection = await connect(url)
  const channel = await connection.createChannel()
  await channel.deleteExchange(exchange)
  await connection.close()
}
