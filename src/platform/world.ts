/** All that a broker takes from outside, passed in: nothing below the node reaches for it itself. */
import { type Clock, SystemClock } from './clock.js'
import { type Files, systemFiles } from './files.js'
import type { Logger } from './log.js'
import { type Random, systemRandom } from './random.js'
import { Turn } from './turn.js'

export interface World {
  readonly clock: Clock
  readonly files: Files
  readonly log: Logger
  readonly random: Random
  readonly turn: Turn
}

/** The real world: the machine's time, files, randomness and event loop. */
export function systemWorld(log: Logger): World {
  const clock = new SystemClock()
  return {
    clock,
    files: systemFiles,
    log,
    random: systemRandom,
    turn: new Turn(
      setImmediate,
      error => log.error({ err: error }, 'work at the end of a turn failed'),
      () => clock.monotonicMs(),
    ),
  }
}
