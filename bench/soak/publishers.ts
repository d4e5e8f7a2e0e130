// The publishers of the soak: bursts of messages with confirms, or in transactions. They stop when
// their connection ends, with whatever was not confirmed.

import { sleep } from '../clock.js'
import { FrameWriter, METHOD, methods } from '../frames.js'
import { type Address, Link } from '../link.js'
import { publish } from './message.js'
import type { Random } from './random.js'
import type { Flow } from './topology.js'

export interface Party {
  /** Resolves when its connection has ended, and all that came on it was read. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

/** Publishes until the connection ends. */
export async function startPublisher(address: Address, flow: Flow, random: Random): Promise<Party> {
  const link = await Link.open(address)
  const transactions = flow.stream.transaction > 1
  const request = new FrameWriter()
  if (transactions) await link.call(request.method(1, methods.txSelect).end(), methods.txSelectOk)
  else {
    request.method(1, methods.confirmSelect).u8(0).end()
    await link.call(request, methods.confirmSelectOk)
  }
  const ended = new Promise<void>(resolve => {
    link.onFail = () => resolve()
  })
  let open = true
  void ended.then(() => {
    open = false
  })
  const send = transactions ? inTransactions(link, flow) : withConfirms(link, flow, random)
  const run = async () => {
    while (open) {
      if (!link.blocked) send()
      await sleep(random.between(1, 20))
    }
  }
  const running = run()
  return {
    ended: ended.then(() => running),
    async close() {
      open = false
      await running
      await link.close()
    },
  }
}

/** Gives what sends the next burst. */
function withConfirms(link: Link, flow: Flow, random: Random): () => void {
  const { stream, route, burst, window } = flow
  const base = stream.sent
  const open = new Set<number>()
  link.onFrame = (type, at) => {
    if (type !== METHOD || link.unasked(at)) return
    const methodId = link.view.getUint32(at)
    if (methodId !== methods.ack && methodId !== methods.nack) throw new Error('no confirm')
    const tag = Number(link.view.getBigUint64(at + 4))
    const multiple = ((link.input[at + 12] as number) & 1) === 1
    for (const number of multiple ? [...open].filter(number => number <= tag) : [tag]) {
      if (!open.delete(number)) throw new Error(`confirm of ${number}, which was not awaited`)
      if (methodId === methods.ack) stream.confirm(base + number - 1)
    }
  }
  return () => {
    const count = Math.min(random.between(1, burst), window - open.size)
    const out = new FrameWriter()
    for (let i = 0; i < count; i++) {
      const sequence = stream.sent++
      open.add(stream.sent - base)
      const persistent = !stream.transient(sequence)
      publish(out, { stream: stream.number, sequence }, route, persistent, link.frameMax)
    }
    if (count > 0) link.write(out.take())
  }
}

/** Gives what sends the next transaction, if the one before was committed. */
function inTransactions(link: Link, { stream, route }: Flow): () => void {
  let committing = false
  link.onFrame = (type, at) => {
    if (type !== METHOD || link.unasked(at)) return
    if (link.view.getUint32(at) !== methods.txCommitOk) throw new Error('no tx.commit-ok')
    committing = false
    for (let back = 1; back <= stream.transaction; back++) stream.confirm(stream.sent - back)
  }
  return () => {
    if (committing) return
    committing = true
    const out = new FrameWriter()
    for (let i = 0; i < stream.transaction; i++) {
      const message = { stream: stream.number, sequence: stream.sent++ }
      publish(out, message, route, true, link.frameMax)
    }
    link.write(out.method(1, methods.txCommit).end().take())
  }
}
