import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openBroker } from '../support/broker.js'
import { installed } from '../support/installed.js'
import { uniqueName } from '../support/temporary.js'

/** The interpreter that has Celery: in CI that of a virtual environment. */
const { CLIENTS_PYTHON: python = 'python3' } = process.env
/** The script is not compiled, so it is read from where the sources are. */
const script = fileURLToPath(
  new URL('../../../conformance/clients/celery_session.py', import.meta.url),
)

/** Runs one scenario of celery_session.py, worker and all, and gives what it saw. */
async function play(scenario: string, url: string): Promise<Record<string, unknown>> {
  const child = spawn(python, [script, `${url}//`, uniqueName('celery'), scenario])
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const [code, stdout, stderr] = await Promise.all([closed, text(child.stdout), text(child.stderr)])
  if (code !== 0) throw new Error(`${scenario} ended with ${code}\n${stderr}`)
  return JSON.parse(stdout)
}

if (installed(t, 'pip install celery==5.7.0', [python, '-c', 'import celery'])) {
  t.test('a worker does tasks, retries, tells of them and obeys', async t => {
    const broker = await openBroker(t)
    t.same(await play('tasks', broker.url), {
      order: [9, 5, 5, 3, 1],
      sum: 5,
      group: Array.from({ length: 20 }, (_, n) => 2 * n),
      chain: 10,
      retries: 2,
      hopeless: 'RuntimeError: failed 2 times before',
      early: false,
      ping: { ok: 'pong' },
      queues: 1,
      revoked: 'TaskRevokedError: revoked',
      'late queue': 8,
      exit: 0,
      events: [
        'task-failed',
        'task-received',
        'task-retried',
        'task-revoked',
        'task-sent',
        'task-started',
        'task-succeeded',
        'worker-offline',
      ],
    })
  })

  // Against what calls itself RabbitMQ 4 Celery's worker asks for a limit per consumer, which by its
  // nature cannot be raised; against an older one for a limit of the channel.
  t.test('a worker holding tasks for later raises the limit of its channel', async t => {
    const broker = await openBroker(t, { 'product.version': '3.13.7' })
    t.same(await play('later', broker.url), { meanwhile: true, early: [false, false] })
  })
}
