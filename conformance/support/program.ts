import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Broker } from './broker.js'

const program = fileURLToPath(new URL('../../src/main.js', import.meta.url))

/** A broker as a process of its own, on a data folder. */
export interface Program extends Broker {
  readonly pid: number
  /** Ends it; resolves when it is gone. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

/** Starts a broker, which is killed with the test if it still runs then; on request as the child of another program. */
export async function startProgram(
  t: Test,
  folder: string,
  ...parent: readonly string[]
): Promise<Program> {
  const ports = ['--port', '0', '--management-port', 'none']
  const options = ['--host', '127.0.0.1', ...ports, '--data', folder, '--json']
  const [command = '', ...args] = [...parent, process.execPath, program, ...options]
  const stdio = ['ignore', 'pipe', 'inherit'] as const
  const child = spawn(command, args, { env: {}, cwd: tmpdir(), stdio: [...stdio] })
  const gone = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout as NodeJS.ReadableStream)
  const listening = new Promise<number>(resolve =>
    lines.on('line', line => {
      const { msg, port } = JSON.parse(line)
      if (String(msg).startsWith('started TCP listener')) resolve(port)
    }),
  )
  const ended = gone.then(([code]) => {
    throw new Error(`the broker ended with ${code} before it listened`)
  })
  const port = await Promise.race([listening, ended])
  ended.catch(() => {})
  const pid = parent.length === 0 ? (child.pid as number) : onlyChild(child.pid as number)
  return {
    pid,
    url: `amqp://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    real: false,
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) process.kill(pid, signal)
      await gone
    },
  }
}

function onlyChild(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'))
}
