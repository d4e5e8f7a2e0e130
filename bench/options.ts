// The command line of the benchmark.

import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'

export interface Options {
  rival: string | null
  rivalPid: number | null
  startRabbitmq: boolean
  startup: boolean
  /** Where the brokers we start keep their data. */
  folder: string
  /** Our broker keeps nothing on disk. */
  memory: boolean
  rounds: number
  seconds: number
  only: RegExp
  /** Only the scenarios that take long, which restart our broker. */
  long: boolean
  json: string | null
}

export const usage = `npm run bench -- [options]
  --rival amqp://…     another broker, measured in turn with ours in the same run
  --rival-pid PID      its process, if not the one that listens on its port
  --start-rabbitmq     start Debian's rabbitmq-server in a temporary folder as the rival
  --rounds N           times each scenario is run (3)
  --seconds S          seconds measured each time, after a second of warming up (3)
  --only REGEX         only the scenarios whose id matches
  --folder DIR         where the brokers it starts keep their data (the system's temporary folder)
  --memory             start our broker without files
  --long               what takes minutes and restarts our broker: large backlogs, starts with data
  --startup            time from process start to the first handshake, and memory when idle
  --json FILE          write all figures of all rounds to a file
`

/** Reads the arguments; null if they ask for help. Throws on what it does not know. */
export function readOptions(args: string[]): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      rival: { type: 'string' },
      'rival-pid': { type: 'string' },
      'start-rabbitmq': { type: 'boolean', default: false },
      folder: { type: 'string', default: tmpdir() },
      memory: { type: 'boolean', default: false },
      startup: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      long: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  return {
    rival: values.rival ?? null,
    rivalPid: values['rival-pid'] === undefined ? null : positive('rival-pid', values['rival-pid']),
    startRabbitmq: values['start-rabbitmq'],
    startup: values.startup,
    folder: values.folder,
    memory: values.memory,
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    only: new RegExp(values.only),
    long: values.long,
    json: values.json ?? null,
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not ${text}`)
  return value
}
