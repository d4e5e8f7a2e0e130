// Loaded into the broker's process before it (node --import): measures how long its event loop is
// held. On SIGUSR2 it writes the longest time since the last one, in milliseconds, to a file.

import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 1
const { BENCH_PROBE_FILE: file = '' } = process.env
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
// from the first turn on: what comes before is loading of modules
setImmediate(() => delays.enable())
process.on('SIGUSR2', () => {
  // with no delay recorded yet, max is 0
  const held = Math.max(0, delays.max / 1e6 - RESOLUTION_MS)
  delays.reset()
  writeFileSync(file, String(held))
})
