/** Reads the certificates and keys that the settings name; what is wrong with them is said by the setting's name. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { TlsOptions } from '../platform/stream-listener.js'
import { SettingsError } from './settings-draft.js'
import type { SettingName, Settings } from './settings-table.js'

const versions = { 'tlsv1.2': 'TLSv1.2', 'tlsv1.3': 'TLSv1.3' } as const

/** Everything a TLS listener needs, or a SettingsError. */
export async function readTlsFiles(settings: Settings): Promise<TlsOptions> {
  const problems: string[] = []
  const attempt = <T>(name: SettingName, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      problems.push(`${name}: ${settings[name]}: ${(error as Error).message}`)
      return undefined
    }
  }
  const [ca, cert, key] = await Promise.all(
    (['ssl_options.cacertfile', 'ssl_options.certfile', 'ssl_options.keyfile'] as const).map(
      async name => {
        const file = settings[name]
        if (file === null) return null
        return await readFile(file).catch(error => {
          problems.push(`${name}: ${file}: cannot be read (${error.message})`)
          return null
        })
      },
    ),
  )
  const passphrase = settings['ssl_options.password'] ?? undefined
  const verifyPeer = settings['ssl_options.verify'] === 'verify_peer'
  if (settings['ssl_options.certfile'] === null)
    problems.push('ssl_options.certfile: must be set where there is a TLS listener')
  if (settings['ssl_options.keyfile'] === null)
    problems.push('ssl_options.keyfile: must be set where there is a TLS listener')
  if (verifyPeer && settings['ssl_options.cacertfile'] === null)
    problems.push('ssl_options.cacertfile: must be set for ssl_options.verify: verify_peer')
  if (ca) attempt('ssl_options.cacertfile', () => new X509Certificate(ca))
  const certificate = cert && attempt('ssl_options.certfile', () => new X509Certificate(cert))
  const privateKey =
    key &&
    attempt('ssl_options.keyfile', () =>
      createPrivateKey(passphrase === undefined ? key : { key, passphrase }),
    )
  if (certificate && privateKey && !certificate.checkPrivateKey(privateKey))
    problems.push(
      `ssl_options.keyfile: ${settings['ssl_options.keyfile']}: is not the key of ${settings['ssl_options.certfile']}`,
    )
  const ciphers = settings['ssl_options.ciphers'].join(':')
  if (ciphers !== '') attempt('ssl_options.ciphers', () => createSecureContext({ ciphers }))
  if (problems.length > 0) throw new SettingsError(problems)
  const asked = settings['ssl_options.versions']
  return {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(passphrase !== undefined && { passphrase }),
    ...(ciphers !== '' && { ciphers }),
    honorCipherOrder: settings['ssl_options.honor_cipher_order'],
    minVersion: versions[asked.includes('tlsv1.2') ? 'tlsv1.2' : 'tlsv1.3'],
    maxVersion: versions[asked.includes('tlsv1.3') ? 'tlsv1.3' : 'tlsv1.2'],
    verifyPeer,
    failIfNoPeerCert: settings['ssl_options.fail_if_no_peer_cert'],
  }
}
