/** What strace saw a process do: the calls of all its threads, in the order in which they began and returned. */

export interface Call {
  readonly name: string
  /** What the descriptor stands for, such as a path or `socket:[123]`. */
  readonly target: string
  /** All strings among the arguments, one behind the other. */
  readonly bytes: Buffer
  /** Where in the trace it began and returned; it may never have returned. */
  readonly begun: number
  readonly returned: number
  readonly result: number
}

/** Options of strace whose output `readTrace` reads. */
export const traceOptions = [
  ...['-f', '-qq', '-y', '-xx', '-s', '1000000', '--seccomp-bpf'],
  ...['-e', 'trace=fdatasync,fsync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg'],
] as const

/** Reads what strace wrote with `traceOptions`. */
export function readTrace(text: string): Call[] {
  const calls: Call[] = []
  const unfinished = new Map<string, { begun: number; text: string }>()
  for (const [at, line] of text.split('\n').entries()) {
    const whole = /^(\d+) +(.*)$/.exec(line)
    if (whole === null) continue
    const [, thread = '', said = ''] = whole
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(said)
    const before = unfinished.get(thread)
    if (said.endsWith(' <unfinished ...>')) {
      unfinished.set(thread, { begun: at, text: said.slice(0, -' <unfinished ...>'.length) })
    } else if (resumed === null) {
      calls.push(call(said, at, at))
    } else if (before !== undefined) {
      unfinished.delete(thread)
      calls.push(call(before.text + resumed[1], before.begun, at))
    }
  }
  for (const { text, begun } of unfinished.values())
    calls.push(call(text, begun, Number.POSITIVE_INFINITY))
  return calls.sort((a, b) => a.begun - b.begun)
}

function call(said: string, begun: number, returned: number): Call {
  const head = /^(\w+)\(\d+<([^>]*)>/.exec(said)
  const strings = said.match(/"(?:\\x[0-9a-f]{2})*"/g) ?? []
  return {
    name: head?.[1] ?? '',
    target: unescaped(head?.[2] ?? '').toString(),
    bytes: Buffer.concat(strings.map(unescaped)),
    begun,
    returned,
    result: Number(/\) += (-?\d+)/.exec(said)?.[1]),
  }
}

function unescaped(text: string): Buffer {
  return Buffer.from(text.replaceAll(/[^0-9a-f]/g, ''), 'hex')
}

/**
 * Whether the answer was sent only after what it promises was written to a file and that file
 * was synced; else what is missing.
 */
export function promiseKept(calls: readonly Call[], written: Buffer, answer: Buffer): string {
  const has = (bytes: Buffer) => (call: Call) => call.bytes.includes(bytes)
  const answered = calls.find(call => isSocket(call) && has(answer)(call))
  if (answered === undefined) return 'no answer was sent'
  const writes = calls.filter(call => isFile(call) && has(written)(call) && call.result > 0)
  if (writes.length === 0) return 'nothing was written'
  const synced = writes.some(write =>
    calls.some(
      sync =>
        /^f(data)?sync$/.test(sync.name) &&
        sync.target === write.target &&
        sync.result === 0 &&
        sync.begun > write.returned &&
        sync.returned < answered.begun,
    ),
  )
  return synced ? 'kept' : 'no sync returned between write and answer'
}

const isFile = ({ target }: Call): boolean => target.startsWith('/')
const isSocket = ({ target }: Call): boolean => /^(socket|TCP)/.test(target)
