/** Randomness, as it is given to everything else: tests give a seed. */
import { randomBytes } from 'node:crypto'

export interface Random {
  /** `count` random bytes. */
  bytes(count: number): Buffer
}

/** The machine's own randomness. */
export const systemRandom: Random = { bytes: randomBytes }
