import { setTimeout as pause } from 'node:timers/promises'

/**
 * How long a test waits for what must happen before it calls it a failure.
 * Far above what the slowest machine needs: it only keeps one missing answer
 * from hiding the tests after it.
 */
const { CONFORMANCE_PATIENCE = 45_000 } = process.env
export const PATIENCE = Number(CONFORMANCE_PATIENCE)

/** The promise, or a failure that says what was waited for. */
export async function patiently<T>(promise: Promise<T>, awaited: string): Promise<T> {
  const given = new AbortController()
  const tooLate = pause(PATIENCE, undefined, { signal: given.signal }).then(() => {
    throw new Error(`waited in vain for ${awaited}`)
  })
  try {
    return await Promise.race([promise, tooLate])
  } finally {
    tooLate.catch(() => {})
    given.abort()
  }
}

type Awaited<T> = Exclude<T, false | undefined | null | 0 | ''>

/** The first truthy answer of a question asked again and again. */
export async function eventually<T>(
  awaited: string,
  ask: () => T | Promise<T>,
): Promise<Awaited<T>> {
  const deadline = performance.now() + PATIENCE
  for (;;) {
    const answer = await ask()
    if (answer) return answer as Awaited<T>
    if (performance.now() > deadline) throw new Error(`waited in vain for ${awaited}`)
    await pause(15)
  }
}

/** A duration that is itself what the test is about, such as half of a TTL. */
export const elapse = (ms: number): Promise<void> => pause(ms)
