// A log-linear histogram of durations: 128 steps per power of two, so less than 0.8 % of error.

const STEPS = 128
/** The unit of a bucket's bounds; 32 bits of it reach 429 s. */
const UNIT_NS = 100

export class Histogram {
  readonly counts = new Uint32Array(STEPS * 27)
  count = 0
  #maxUnits = 0

  record(ns: number): void {
    const units = Math.min(ns < 0 ? 0 : Math.round(ns / UNIT_NS), 0xffff_ffff) >>> 0
    const shift = units < STEPS ? 0 : 24 - Math.clz32(units)
    const bucket = units < STEPS ? units : (shift + 1) * STEPS + ((units >>> shift) - STEPS)
    this.counts[bucket] = (this.counts[bucket] as number) + 1
    this.count++
    if (units > this.#maxUnits) this.#maxUnits = units
  }

  /** The duration, in microseconds, that this share of all durations does not exceed. */
  quantileMicros(share: number): number {
    let left = Math.min(Math.floor(share * this.count), this.count - 1)
    for (let bucket = 0; bucket < this.counts.length; bucket++) {
      left -= this.counts[bucket] as number
      if (left >= 0) continue
      if (bucket < STEPS) return (bucket * UNIT_NS) / 1000
      const shift = Math.floor(bucket / STEPS) - 1
      const units = ((bucket % STEPS) + STEPS + 0.5) * 2 ** shift
      return (Math.min(units, this.#maxUnits) * UNIT_NS) / 1000
    }
    return 0
  }

  maxMicros(): number {
    return (this.#maxUnits * UNIT_NS) / 1000
  }
}
