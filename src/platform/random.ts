/** Randomness, as it is given to everything else: tests give a seed. */
import { randomBytes } from 'node:crypto'

export interface Random {
  /** `count` random bytes. */
  bytes(count: number): Buffer
  /** An integer from 0 to below `count`, cheap and good enough to choose one of several. */
  below(count: number): number
}

/** The machine's own randomness. */
export const systemRandom: Random = {
  bytes: randomBytes,
  below: count => Math.floor(Math.random() * count),
}
