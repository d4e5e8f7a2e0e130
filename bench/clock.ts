// The monotonic clock that all threads share.

/** Nanoseconds; exact in a double for 104 days after the machine's start. */
export function nanoseconds(): number {
  const [seconds, rest] = process.hrtime()
  return seconds * 1e9 + rest
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
