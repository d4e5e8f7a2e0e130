/**
 * The control socket: how a program on this machine asks a running broker. A connection carries one
 * line with a request and one line with its answer, both JSON objects:
 *
 *     {"ask":"status"}   →   {"pid":4711,"version":"1.2.3","holding":true}
 *
 * `ask` names the request; what else it takes stands beside it. A request that is not understood
 * is answered with `{"error":"…"}`.
 */
import { chmod } from 'node:fs/promises'
import net from 'node:net'

/** A request, or an answer. */
export type ControlLine = Readonly<Record<string, unknown>>

/** Answers requests of one name. What it throws becomes an answer with `error`. */
export type Answerer = (request: ControlLine) => ControlLine | Promise<ControlLine>

/** Who connects and says nothing is let go after so long. */
const silenceMs = 10_000

/** Longest line. */
const lineCharactersMax = 1024 * 1024

/** Answers on a socket in the file system. */
export class ControlSocket {
  readonly #server: net.Server
  readonly #answerers: ReadonlyMap<string, Answerer>
  readonly #open = new Set<net.Socket>()

  private constructor(answerers: ReadonlyMap<string, Answerer>) {
    this.#answerers = answerers
    this.#server = net.createServer(socket => this.#serve(socket))
  }

  /** Listens at a path where there is nothing yet; only this user may connect. Rejects with the system's error. */
  static async listen(
    path: string,
    answerers: ReadonlyMap<string, Answerer>,
  ): Promise<ControlSocket> {
    const control = new ControlSocket(answerers)
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject)
      control.#server.listen(path, resolve)
    })
    // An accept that fails later concerns only who wanted to connect.
    control.#server.removeAllListeners('error').on('error', () => {})
    await chmod(path, 0o600)
    return control
  }

  /** Resolves when nobody listens and no connection is left. */
  close(): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    return new Promise(resolve => this.#server.close(() => resolve()))
  }

  #serve(socket: net.Socket): void {
    this.#open.add(socket)
    socket.on('close', () => this.#open.delete(socket))
    socket.on('error', () => {})
    socket.setTimeout(silenceMs, () => socket.destroy())
    firstLine(socket).then(
      async line => socket.end(`${JSON.stringify(await this.#answer(line))}\n`),
      () => socket.destroy(),
    )
  }

  async #answer(line: string): Promise<ControlLine> {
    try {
      const request = controlLine(line)
      const { ask: name } = request
      const answerer = this.#answerers.get(String(name))
      if (answerer === undefined) throw new Error(`there is no request '${name}'`)
      return await answerer(request)
    } catch (error) {
      return { error: (error as Error).message }
    }
  }
}

/** Somebody listens, and does not answer: the process is stopped, or very busy. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

/** A connection that ends without an answer is tried again: most likely its process ends as well. */
const triesMax = 3

/**
 * Asks whoever listens at a path. Null: nobody does. Rejects with NoAnswer if none comes within
 * `patienceMs`, and with the system's error if the path cannot be reached.
 */
export async function ask(
  path: string,
  request: ControlLine,
  patienceMs: number,
): Promise<ControlLine | null> {
  for (let tries = 1; ; tries++) {
    const socket = net.connect(path)
    let patient = true
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve).once('error', reject)
      })
      socket.setTimeout(patienceMs, () => {
        patient = false
        socket.destroy()
      })
      socket.write(`${JSON.stringify(request)}\n`)
      return controlLine(await firstLine(socket))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'ECONNREFUSED' || code === 'ENOENT') return null
      const ended = code === undefined || code === 'ECONNRESET' || code === 'EPIPE'
      // EAGAIN: as many wait to be let in as it allows.
      if (!ended && code !== 'EAGAIN') throw error
      if (!ended || !patient || tries === triesMax) throw new NoAnswer(message)
    } finally {
      socket.destroy()
    }
  }
}

/** The first line that comes; rejects if the socket ends before it does. */
function firstLine(socket: net.Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => {
      const end = part.indexOf('\n')
      text += end < 0 ? part : part.slice(0, end)
      if (end >= 0) resolve(text)
      else if (text.length > lineCharactersMax) reject(new Error('the line is too long'))
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the connection ended before an answer came')))
  })
}

function controlLine(line: string): ControlLine {
  const value: unknown = JSON.parse(line)
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as ControlLine
  throw new Error('not a JSON object')
}
