// What is measured, and what the project promises for it.

import { churn, largeBacklog, startWithMessages, startWithQueues } from './long-trials.js'
import { backlog, type Figure, fairness, intact, openClose, type Trial, traffic } from './trials.js'

/** A promise about a figure: against the rival's in the same run, against our own in another scenario, or by itself. */
export type Target =
  /** With `orWindow`, 80 % of what windows of so many messages and 1.5 syncs each give is enough. */
  | { timesRivalAtLeast: number; orWindow?: number }
  | { timesRivalAtMost: number }
  | { syncsAboveRival: number }
  | { ofScenario: string; timesAtLeast: number }
  | { atLeast: number }
  | { atMost: number }

export interface Row {
  figure: Figure
  label: string
  target?: Target
}

export interface Scenario {
  id: string
  title: string
  trial: Trial
  rows: Row[]
  /** Takes minutes or restarts the broker: only when asked for, and for our own broker. */
  long?: true
}

const KIB = 1024
const MIB = 1024 * 1024
const manual = { prefetch: 200, ack: 50 }
const persistent = { size: KIB, persistent: true, prefetch: 1000, ack: 50 }

const rate = (target?: Target): Row => row('perSecond', 'msg/s', target)
const cpu = (target?: Target): Row => row('cpuMicros', 'CPU µs/msg', target)
const p50 = (target?: Target): Row => row('p50Micros', 'p50 µs', target)
const p99 = (target?: Target): Row => row('p99Micros', 'p99 µs', target)
const disk = (target?: Target): Row => row('diskBytes', 'disk bytes/msg', target)
const atLeastTimes = (timesRivalAtLeast: number): Target => ({ timesRivalAtLeast })
const atMostTimes = (timesRivalAtMost: number): Target => ({ timesRivalAtMost })

function row(figure: Figure, label: string, target?: Target): Row {
  return target === undefined ? { figure, label } : { figure, label, target }
}

export const scenarios: Scenario[] = [
  {
    id: 'auto-16',
    title: '16 B, auto-ack',
    trial: traffic({ size: 16 }),
    rows: [rate(atLeastTimes(8)), cpu(atMostTimes(0.1))],
  },
  {
    id: 'manual-16',
    title: '16 B, prefetch 200, ack 50',
    trial: traffic({ size: 16, ...manual }),
    rows: [rate(atLeastTimes(6)), cpu()],
  },
  {
    id: 'auto-1k',
    title: '1 KiB, auto-ack',
    trial: traffic({ size: KIB }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: 'manual-1k',
    title: '1 KiB, prefetch 200, ack 50',
    trial: traffic({ size: KIB, ...manual }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: 'auto-64k',
    title: '64 KiB, auto-ack',
    trial: traffic({ size: 64 * KIB }),
    rows: [rate(atLeastTimes(0.7)), cpu()],
  },
  {
    id: 'intact-1m',
    title: '1 MiB body, intact',
    trial: intact(MIB),
    rows: [row('mebibytesPerSecond', 'MiB/s')],
  },
  {
    id: 'intact-100m',
    title: '100 MiB body, intact',
    trial: intact(100 * MIB),
    rows: [row('mebibytesPerSecond', 'MiB/s')],
  },
  {
    id: 'fanout-10',
    title: 'fan-out to 10 queues, 1 KiB',
    trial: traffic({ size: KIB, exchange: 'fanout', queues: 10 }),
    rows: [row('perSecond', 'deliveries/s', atLeastTimes(6)), cpu()],
  },
  {
    id: 'topic-1000',
    title: 'topic, 1,000 wildcard bindings, 1 KiB',
    trial: traffic({ size: KIB, exchange: 'topic', bindings: 1000 }),
    rows: [rate(atLeastTimes(6)), cpu()],
  },
  {
    id: 'topic-100000',
    title: 'topic, 100,000 wildcard bindings, 1,000 keys, 1 KiB',
    trial: traffic({ size: KIB, exchange: 'topic', bindings: 100_000, keys: 1000 }),
    rows: [rate({ ofScenario: 'topic-1000', timesAtLeast: 0.5 }), cpu()],
  },
  {
    id: 'topic-100000-keys',
    title: 'the same with 100,000 keys',
    trial: traffic({ size: KIB, exchange: 'topic', bindings: 100_000 }),
    rows: [rate(), cpu()],
  },
  {
    id: 'headers-10',
    title: 'headers, 10 bindings, 1 KiB',
    trial: traffic({ size: KIB, exchange: 'headers', bindings: 10 }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: 'hash-10',
    title: 'consistent hash to 10 queues, 10,000 keys, 1 KiB',
    trial: traffic({ size: KIB, exchange: 'x-consistent-hash', queues: 10, keys: 10_000 }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: '4p4c4q-16',
    title: '4 producers, consumers, queues, 16 B',
    trial: traffic({ size: 16, producers: 4, consumers: 4, queues: 4 }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: '4p4c4q-1k',
    title: '4 producers, consumers, queues, 1 KiB',
    trial: traffic({ size: KIB, producers: 4, consumers: 4, queues: 4 }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: '50p50c50q-1k',
    title: '50 producers, consumers, queues, 1 KiB',
    trial: traffic({ size: KIB, producers: 50, consumers: 50, queues: 50 }),
    rows: [rate(atLeastTimes(2)), cpu()],
  },
  {
    id: 'priority-10',
    title: 'priority queue of 10, 1 KiB',
    trial: traffic({ size: KIB, priorities: 10, queueArguments: { 'x-max-priority': 10 } }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: 'ttl-60000',
    title: 'message TTL 60 s, 1 KiB',
    trial: traffic({ size: KIB, queueArguments: { 'x-message-ttl': 60_000 } }),
    rows: [rate(atLeastTimes(4)), cpu()],
  },
  {
    id: 'confirms-1024',
    title: 'confirms, window 1024, 1 KiB',
    trial: traffic({ size: KIB, confirmWindow: 1024 }),
    rows: [rate(), cpu()],
  },
  ...(
    [
      [256, { timesRivalAtLeast: 4, orWindow: 256 }],
      [1024, atLeastTimes(6)],
      [4096, atLeastTimes(8)],
    ] as const
  ).map(
    ([confirmWindow, target]): Scenario => ({
      id: `persistent-${confirmWindow}`,
      title: `persistent, confirms, window ${confirmWindow}, 1 KiB`,
      trial: traffic({ ...persistent, confirmWindow }),
      rows: [
        rate(target),
        cpu(atMostTimes(1 / 8)),
        row('confirmP50Micros', 'confirm p50 µs'),
        row('confirmP99Micros', 'confirm p99 µs'),
        disk(),
      ],
    }),
  ),
  {
    id: 'persistent-fanout-10',
    title: 'persistent fan-out to 10 queues, window 1024, 1 KiB',
    trial: traffic({ ...persistent, exchange: 'fanout', queues: 10, confirmWindow: 1024 }),
    rows: [row('perSecond', 'deliveries/s'), cpu(), disk({ atMost: 2 * KIB })],
  },
  {
    id: 'persistent-1000q',
    title: 'persistent, 1,000 queues and publishers, window 128, 1 KiB',
    trial: traffic({
      ...persistent,
      producers: 1000,
      queues: 1000,
      consumers: 10,
      confirmWindow: 128,
    }),
    rows: [rate({ ofScenario: 'persistent-1024', timesAtLeast: 0.7 }), cpu(), disk()],
  },
  {
    id: 'persistent-latency-1000',
    title: 'persistent, confirms at 1,000/s, 1 KiB',
    trial: traffic({ ...persistent, confirmWindow: 1024, rate: 1000 }),
    rows: [
      row('confirmP50Micros', 'confirm p50 µs', { syncsAboveRival: 1 }),
      row('confirmP99Micros', 'confirm p99 µs', { syncsAboveRival: 1 }),
      p50(),
      p99(),
      cpu(),
    ],
  },
  {
    id: 'latency-1000',
    title: 'latency at 1,000/s, 1 KiB',
    trial: traffic({ size: KIB, rate: 1000 }),
    rows: [p50(atMostTimes(1)), p99(atMostTimes(1)), cpu()],
  },
  {
    id: 'latency-10000',
    title: 'latency at 10,000/s, 1 KiB',
    trial: traffic({ size: KIB, rate: 10_000 }),
    rows: [p50(atMostTimes(1)), p99(atMostTimes(1)), cpu()],
  },
  {
    id: 'open-close',
    title: 'connections opened and closed',
    trial: openClose,
    rows: [row('perSecond', 'per s', atLeastTimes(5)), row('cpuMicros', 'CPU µs each')],
  },
  {
    id: 'backlog-1m',
    title: '1 M × 16 B that nobody consumes',
    trial: backlog({ size: 16, messages: 1_000_000 }),
    rows: [row('rssMiB', 'RSS MiB', { atMost: 160 }), row('peakMiB', 'peak MiB'), rate()],
  },
  ...[1, 10].map(
    (producers): Scenario => ({
      id: `fairness-${producers}`,
      title: `20,000/s of 1 KiB beside ${producers} flooding`,
      trial: fairness({ size: KIB, rate: 20_000 }, { size: KIB, producers, ...manual }),
      rows: [
        row('ratePercent', '% of its rate', { atLeast: 95 }),
        row('p99Micros', 'p99 µs', { atMost: 50_000 }),
        row('longestPauseMs', 'flooded queue, longest pause ms', { atMost: 100 }),
      ],
    }),
  ),
  ...[1, 10].map(
    (millions): Scenario => ({
      id: `backlog-${millions}m-persistent`,
      title: `${millions} M × 1 KiB persistent that nobody consumes, then drained`,
      long: true,
      trial: largeBacklog(millions * 1_000_000),
      rows: [
        rate(),
        row('publishedPercent', '% of the speed with an empty queue', { atLeast: 60 }),
        row('drainedPerSecond', 'drained per s'),
        row('drainedPercent', '% of the speed with an empty queue', { atLeast: 50 }),
        row('peakMiB', 'peak MiB', { atMost: 512 }),
        row('rssMiB', 'RSS MiB when full'),
        row('folderMiB', 'disk MiB when full'),
        row('longestStepMs', 'longest step ms', { atMost: 10 }),
        cpu(),
        disk(),
      ],
    }),
  ),
  {
    id: 'start-1m',
    title: 'start with 1 M × 1 KiB',
    long: true,
    trial: startWithMessages(1_000_000),
    rows: [
      row('startAfterStopMs', 'ms after a stop', { atMost: 1000 }),
      row('startAfterKillMs', 'ms after kill -9', { atMost: 3000 }),
      row('longestStepAtStartMs', 'longest step ms', { atMost: 10 }),
      row('peakWhileStartingMiB', 'peak MiB'),
    ],
  },
  {
    id: 'start-10k-queues',
    title: 'start with 10,000 durable queues',
    long: true,
    trial: startWithQueues(10_000),
    rows: [
      row('startAfterStopMs', 'ms after a stop', { atMost: 1000 }),
      row('startAfterKillMs', 'ms after kill -9'),
      row('longestStepAtStartMs', 'longest step ms', { atMost: 10 }),
      row('declaredPerSecond', 'declared per s, 100 at a time', { atLeast: 3334 }),
    ],
  },
  ...[10, 100].map(millions =>
    churning(`churn-${millions}m`, `${millions} M × 1 KiB through a durable queue`, [
      { messages: millions * 1_000_000 },
    ]),
  ),
  ...[2, 10, 1000].map(queues =>
    churning(`kept-${queues}`, `10 M × 1 KiB, of which one in ${queues} is kept`, [
      { messages: 10_000_000, queues, undrained: 1 },
    ]),
  ),
  churning('acked-anyhow', '10 M × 1 KiB, acknowledged in random order', [
    { messages: 10_000_000, shuffled: true },
  ]),
  churning('cold', '20 M × 1 KiB above 2 M that nobody consumes', [
    { messages: 20_000_000 },
    2_000_000,
  ]),
]

function churning(id: string, title: string, what: Parameters<typeof churn>): Scenario {
  const gone = what[0].undrained === undefined && what[1] === undefined
  return {
    id,
    title,
    long: true,
    trial: churn(...what),
    rows: [
      rate(),
      row('folderMiB', 'disk MiB afterwards', gone ? { atMost: 200 } : undefined),
      disk({ atMost: 1.8 * KIB }),
      row('longestStepMs', 'longest step ms', { atMost: 10 }),
      row('peakMiB', 'peak MiB'),
      cpu(),
    ],
  }
}
