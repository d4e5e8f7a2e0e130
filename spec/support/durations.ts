/** How the time that something takes grows with its size. */

const rounds = 5

/** CPU milliseconds that `work` takes: the best of several rounds, for others share the machine. */
function leastMs(work: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < rounds; i++) {
    const start = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(start)
    least = Math.min(least, (user + system) / 1000)
  }
  return least
}

/** How many times longer `work` takes for `large` than for `small`, once it is warm. */
export function growth(small: number, large: number, work: (size: number) => void): number {
  const times = Math.max(1, Math.floor(large / small))
  // As much work in both measurements, so that the clock's grain matters in neither.
  const smallMs = leastMs(() => {
    for (let i = 0; i < times; i++) work(small)
  })
  const largeMs = leastMs(() => work(large))
  return (largeMs / Math.max(smallMs, 0.01)) * times
}
