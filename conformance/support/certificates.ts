import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'

const run = promisify(execFile)

/** A certificate with its key, in files and as text. */
export interface Identity {
  readonly certfile: string
  readonly keyfile: string
  readonly cert: string
  readonly key: string
}

export interface IdentityOptions {
  /** As openssl takes it, for example `/O=acme/CN=client`. */
  readonly subject: string
  /** For example `DNS:localhost,IP:127.0.0.1`. */
  readonly alternativeNames?: string
  readonly password?: string
}

/** An authority made for one test, by openssl. */
export class Authority {
  readonly #folder: string
  readonly certificate: Identity
  #made = 0

  private constructor(folder: string, certificate: Identity) {
    this.#folder = folder
    this.certificate = certificate
  }

  static async make(t: Test, name = 'Test Authority'): Promise<Authority> {
    const folder = await mkdtemp(join(tmpdir(), 'leveret-ca-'))
    t.teardown(() => rm(folder, { recursive: true }))
    const extensions = ['-addext', 'basicConstraints=critical,CA:TRUE']
    return new Authority(folder, await make(folder, 'ca', { subject: `/CN=${name}` }, extensions))
  }

  /** Where the certificate of the authority stands. */
  get cacertfile(): string {
    return this.certificate.certfile
  }

  /** A certificate that this authority has signed. */
  issue(options: IdentityOptions): Promise<Identity> {
    const { certfile, keyfile } = this.certificate
    const extensions = ['-CA', certfile, '-CAkey', keyfile]
    extensions.push('-addext', 'basicConstraints=critical,CA:FALSE')
    if (options.alternativeNames !== undefined)
      extensions.push('-addext', `subjectAltName=${options.alternativeNames}`)
    return make(this.#folder, `leaf-${this.#made++}`, options, extensions)
  }

  /** One for a broker on this machine. */
  issueForBroker(): Promise<Identity> {
    return this.issue({ subject: '/CN=localhost', alternativeNames: 'DNS:localhost,IP:127.0.0.1' })
  }
}

async function make(
  folder: string,
  name: string,
  { subject, password }: IdentityOptions,
  more: readonly string[],
): Promise<Identity> {
  const [certfile, keyfile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', keyfile]
  const secret = password === undefined ? ['-nodes'] : ['-passout', `pass:${password}`]
  const rest = ['-out', certfile, '-days', '2', '-utf8', '-subj', subject]
  await run('openssl', ['req', '-x509', ...key, ...secret, ...rest, ...more])
  const [cert, text] = await Promise.all([readFile(certfile, 'utf8'), readFile(keyfile, 'utf8')])
  return { certfile, keyfile, cert, key: text }
}
