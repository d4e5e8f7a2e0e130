// Declares and removes the queues, exchange and bindings of a load.

import { FrameWriter, methods } from './frames.js'
import { type Address, Link } from './link.js'
import { bindingKey, bound, exchangeName, type Load, queueName } from './load.js'

/** Declares what the load needs, in place of what an earlier run may have left. */
export async function declare(address: Address, load: Load): Promise<void> {
  const link = await Link.open(address)
  await removeOn(link, load)
  const durable = load.persistent ? 2 : 0
  const exchange = exchangeName(load)
  if (exchange !== '') {
    const request = new FrameWriter().method(1, methods.exchangeDeclare).u16(0)
    request.shortString(exchange).shortString(load.exchange).u8(durable).table({}).end()
    await link.call(request, methods.exchangeDeclareOk)
  }
  for (let queue = 0; queue < load.queues; queue++) {
    const request = new FrameWriter().method(1, methods.queueDeclare).u16(0)
    request.shortString(queueName(load, queue)).u8(durable).table(load.queueArguments).end()
    await link.call(request, methods.queueDeclareOk)
    if (exchange !== '') await bind(link, load, queue)
  }
  await link.close()
}

export async function remove(address: Address, load: Load): Promise<void> {
  const link = await Link.open(address)
  await removeOn(link, load)
  await link.close()
}

/** Ready messages of the load's first queue. */
export async function readyMessages(address: Address, load: Load): Promise<number> {
  const link = await Link.open(address)
  const passive = new FrameWriter().method(1, methods.queueDeclare).u16(0)
  passive.shortString(queueName(load, 0)).u8(1).table({}).end()
  const answer = await link.call(passive, methods.queueDeclareOk)
  await link.close()
  return answer.readUInt32BE(answer.length - 8)
}

async function bind(link: Link, load: Load, queue: number): Promise<void> {
  const perQueue = load.exchange === 'fanout' ? 1 : load.bindings
  const requests = new FrameWriter()
  for (let binding = 0; binding < perQueue; binding++) {
    const target = (queue * perQueue + binding) % bound(load)
    requests
      .method(1, methods.queueBind)
      .u16(0)
      .shortString(queueName(load, queue))
      .shortString(exchangeName(load))
      .shortString(bindingKey(load, target))
      .u8(0)
      .table(load.exchange === 'headers' ? { 'x-match': 'all', g: target } : {})
      .end()
  }
  link.write(requests.take())
  for (let binding = 0; binding < perQueue; binding++) await link.expect(methods.queueBindOk)
}

async function removeOn(link: Link, load: Load): Promise<void> {
  for (let queue = 0; queue < load.queues; queue++) {
    const request = new FrameWriter().method(1, methods.queueDelete).u16(0)
    await link.call(request.shortString(queueName(load, queue)).u8(0).end(), methods.queueDeleteOk)
  }
  if (load.exchange === 'default') return
  const request = new FrameWriter().method(1, methods.exchangeDelete).u16(0)
  await link.call(request.shortString(exchangeName(load)).u8(0).end(), methods.exchangeDeleteOk)
}
