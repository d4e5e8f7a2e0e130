import t from 'tap'
import { openBroker } from './support/broker.js'
import { prober } from './support/probe.js'
import type { Entry } from './support/raw-codec.js'

// Section 4.1: which arguments a queue may be declared with, and the words of each refusal.

const broker = await openBroker(t)
const probe = prober(t, broker)

/** No refusal. */
const fine = null
/** An argument that another type of queue has. */
const foreign = 'foreign'
/** Not what 3.10 answers: the table of exceptions tells. */
const decided = 'decided'

const noInteger = '"expected integer, got longstr"'
const negative = '{value_negative,-1}'

type Case = readonly [...Entry, string | null]

const classic: readonly Case[] = [
  ['x-message-ttl', 'I', 0, fine],
  ['x-message-ttl', 'b', 100, fine],
  ['x-message-ttl', 'l', 315_360_000_000n, fine],
  ['x-message-ttl', 'l', 315_360_000_001n, '{value_too_large,315360000001}'],
  ['x-message-ttl', 'I', -1, negative],
  ['x-message-ttl', 'S', '1000', noInteger],
  ['x-message-ttl', 'd', 1.5, '"expected integer, got double"'],
  ['x-message-ttl', 't', true, '"expected integer, got bool"'],
  ['x-expires', 'I', 60_000, fine],
  ['x-expires', 'I', 0, '{value_zero,0}'],
  ['x-expires', 'I', -1, negative],
  ['x-expires', 'l', 315_360_000_001n, '{value_too_large,315360000001}'],
  ['x-expires', 'S', '1000', noInteger],
  ['x-max-length', 'I', 0, fine],
  ['x-max-length', 'I', -1, negative],
  ['x-max-length', 'S', '1', noInteger],
  ['x-max-length-bytes', 'l', 2n ** 40n, fine],
  ['x-max-length-bytes', 'I', -1, negative],
  ['x-overflow', 'S', 'drop-head', fine],
  ['x-overflow', 'S', 'reject-publish', fine],
  ['x-overflow', 'S', 'reject-publish-dlx', fine],
  ['x-overflow', 'S', 'spill', 'invalid_overflow'],
  ['x-overflow', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-dead-letter-exchange', 'S', '', fine],
  ['x-dead-letter-routing-key', 'S', 'k', 'routing_key_but_no_dlx_defined'],
  ['x-dead-letter-routing-key', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-max-priority', 'I', 0, fine],
  ['x-max-priority', 'B', 255, fine],
  ['x-max-priority', 'I', 256, '{max_value_exceeded,256}'],
  ['x-max-priority', 'I', -1, negative],
  ['x-max-priority', 'S', '5', noInteger],
  ['x-single-active-consumer', 't', true, fine],
  ['x-single-active-consumer', 't', false, fine],
  ['x-single-active-consumer', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-queue-type', 'S', 'classic', fine],
  ['x-queue-type', 'S', 'heap', '"unsupported queue type \'heap\'"'],
  ['x-queue-type', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-queue-mode', 'S', 'lazy', fine],
  ['x-queue-mode', 'S', 'default', fine],
  ['x-queue-mode', 'S', 'eager', '"unsupported queue mode \'eager\'"'],
  ['x-queue-version', 'I', 1, fine],
  ['x-queue-version', 'I', 2, fine],
  ['x-queue-version', 'I', 3, '"unsupported queue version \'3\'"'],
  ['x-queue-leader-locator', 'S', 'client-local', decided],
  ['x-queue-leader-locator', 'S', 'balanced', decided],
  ['x-queue-leader-locator', 'S', 'least-leaders', decided],
  ['x-queue-leader-locator', 'S', 'nearby', decided],
  ['x-queue-master-locator', 'S', 'client-local', fine],
  ['x-queue-master-locator', 'S', 'min-masters', fine],
  ['x-dead-letter-strategy', 'S', 'at-least-once', foreign],
  ['x-max-in-memory-length', 'I', 1, foreign],
  ['x-max-in-memory-bytes', 'I', 1, foreign],
  ['x-quorum-initial-group-size', 'I', 3, foreign],
  ['x-delivery-limit', 'I', 5, decided],
  ['x-max-age', 'S', '1h', foreign],
  ['x-stream-max-segment-size-bytes', 'I', 1000, foreign],
  ['x-initial-cluster-size', 'I', 1, foreign],
  ['x-consumer-timeout', 'I', 60_000, fine],
  ['ha-mode', 'S', 'all', fine],
  ['x-nobody-knows', 'F', [], fine],
]

const quorum: readonly Case[] = [
  ['x-message-ttl', 'I', 0, fine],
  ['x-message-ttl', 'I', -1, negative],
  ['x-expires', 'I', 60_000, fine],
  ['x-expires', 'I', 0, '{value_zero,0}'],
  ['x-max-length', 'I', 0, fine],
  ['x-max-length-bytes', 'I', -1, negative],
  ['x-overflow', 'S', 'drop-head', fine],
  ['x-overflow', 'S', 'reject-publish', fine],
  ['x-overflow', 'S', 'reject-publish-dlx', fine],
  ['x-overflow', 'S', 'spill', 'invalid_overflow'],
  ['x-dead-letter-exchange', 'S', '', fine],
  ['x-dead-letter-routing-key', 'S', 'k', 'routing_key_but_no_dlx_defined'],
  ['x-dead-letter-strategy', 'S', 'at-most-once', fine],
  ['x-dead-letter-strategy', 'S', 'at-least-once', fine],
  ['x-dead-letter-strategy', 'S', 'at-last', 'invalid_dlx_strategy'],
  ['x-dead-letter-strategy', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-delivery-limit', 'I', 0, fine],
  ['x-delivery-limit', 'I', 20, fine],
  ['x-delivery-limit', 'I', -1, fine],
  ['x-delivery-limit', 'S', '20', decided],
  ['x-single-active-consumer', 't', true, fine],
  ['x-single-active-consumer', 'I', 1, '{unacceptable_type,signedint}'],
  ['x-max-in-memory-length', 'I', 0, fine],
  ['x-max-in-memory-length', 'I', -1, negative],
  ['x-max-in-memory-bytes', 'I', 1, fine],
  ['x-quorum-initial-group-size', 'I', 3, fine],
  ['x-quorum-initial-group-size', 'I', 0, '{value_zero,0}'],
  ['x-queue-leader-locator', 'S', 'client-local', fine],
  ['x-queue-leader-locator', 'S', 'balanced', fine],
  ['x-queue-leader-locator', 'S', 'nearby', 'invalid_queue_locator_arg'],
  ['x-max-priority', 'I', 5, foreign],
  ['x-queue-mode', 'S', 'lazy', foreign],
  ['x-queue-version', 'I', 2, foreign],
  ['x-queue-master-locator', 'S', 'client-local', foreign],
  ['x-max-age', 'S', '1h', foreign],
  ['x-stream-max-segment-size-bytes', 'I', 1000, foreign],
  ['x-initial-cluster-size', 'I', 1, foreign],
  ['x-consumer-timeout', 'I', 60_000, fine],
  ['x-delayed-retry-type', 'S', 'all', fine],
  ['x-delayed-retry-min', 'I', 100, fine],
  ['x-nobody-knows', 'F', [], fine],
]

for (const [type, cases, flags] of [
  ['classic', classic, { exclusive: true }],
  ['quorum', quorum, { durable: true }],
] as const)
  for (const [name, letter, value, refusal] of cases)
    probe(`4.1 ${type} with ${name} ${letter} ${value}`, async c => {
      const client = await c.channel()
      const queue = c.name()
      const table: Entry[] = [[name, letter, value]]
      if (type === 'quorum') table.push(['x-queue-type', 'S', type])
      client.send(1, 'queue.declare', { queue, arguments: table, ...flags })
      const refused = `channel 406 50,10 PRECONDITION_FAILED - invalid arg '${name}' for queue '${queue}' in vhost '/'`
      if (refusal === fine) await c.outcome(client, 'queue.declare-ok')
      else if (refusal === decided) await c.outcome(client, c.decided())
      else if (refusal === foreign)
        await c.outcome(client, `${refused} of queue type rabbit_${type}_queue`)
      else await c.outcome(client, `${refused}: ${refusal}`)
    })
