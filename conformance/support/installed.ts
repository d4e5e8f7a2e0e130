import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'

/**
 * Whether a client that comes with the system is there. In CI a missing one fails the test;
 * elsewhere it is skipped, and says so on standard error too, since nobody reads skipped tests.
 */
export function installed(t: Test, remedy: string, probe: readonly string[]): boolean {
  const [program = '', ...args] = probe
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    const { CI: ci } = process.env
    const reason = `not tested: ${program} is not installed (${remedy})`
    if (ci === 'true') {
      t.fail(reason)
    } else {
      console.error(reason)
      t.pass(remedy, { skip: reason })
    }
    return false
  }
}
