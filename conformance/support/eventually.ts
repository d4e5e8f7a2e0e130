import { setTimeout as sleep } from 'node:timers/promises'

/** Asks again and again until the answer is neither undefined nor false; throws after ten seconds. */
export async function eventually<T>(
  what: string,
  ask: () => T | Promise<T>,
  limitMs = 10_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) {
      return answer as Exclude<T, undefined | false>
    }
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain: ${what}`)
    await sleep(10)
  }
}
