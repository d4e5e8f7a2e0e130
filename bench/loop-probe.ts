// Loaded into the broker's process before it (node --import): measures how long its event loop is
// held. On SIGUSR2 it writes the longest time since the last one, in milliseconds, to a file.
//
// It does what perf_hooks.monitorEventLoopDelay does with a resolution of 1 ms, but leaves out the
// time in which the thread was ready to run and the system ran others: on a machine that is shared,
// that would be most of it.

import { readFileSync, writeFileSync } from 'node:fs'

const RESOLUTION_MS = 1
const { BENCH_PROBE_FILE: file = '' } = process.env

let longestMs = 0
let lastMs = 0
let lastWaitedMs = 0

/** How long the main thread has waited for a processor so far. */
function waitedMs(): number {
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[1]) / 1e6
}

function tick(): void {
  const nowMs = performance.now()
  const waited = waitedMs()
  longestMs = Math.max(longestMs, nowMs - lastMs - (waited - lastWaitedMs) - RESOLUTION_MS)
  lastMs = nowMs
  lastWaitedMs = waited
  setTimeout(tick, RESOLUTION_MS).unref()
}

// from the first turn on: what comes before is loading of modules
setImmediate(() => {
  lastMs = performance.now()
  lastWaitedMs = waitedMs()
  tick()
})
process.on('SIGUSR2', () => {
  writeFileSync(file, String(longestMs))
  longestMs = 0
})
