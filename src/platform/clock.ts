/** Time, as it is given to everything else: tests put a clock of their own in its place. */

/** Longest wait that Node's timers can express; longer ones are cut and started again. */
const longestWaitMs = 2 ** 31 - 1

export interface Clock {
  /** Milliseconds since 1970; may jump. */
  wallMs(): number
  /** Milliseconds since some fixed moment; never goes back. Deadlines in memory are in this. */
  monotonicMs(): number
  /** Runs a task once after a delay of any length; returns how to cancel it. */
  after(delayMs: number, task: () => void): () => void
}

/** The clock of the machine. */
export class SystemClock implements Clock {
  wallMs(): number {
    return Date.now()
  }

  monotonicMs(): number {
    return performance.now()
  }

  after(delayMs: number, task: () => void): () => void {
    const due = performance.now() + delayMs
    let timer: NodeJS.Timeout
    const wait = () => {
      const left = due - performance.now()
      if (left > longestWaitMs) timer = setTimeout(wait, longestWaitMs)
      else timer = setTimeout(task, Math.max(0, left))
    }
    wait()
    return () => clearTimeout(timer)
  }
}
