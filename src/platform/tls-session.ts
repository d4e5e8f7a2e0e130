/** What TLS knows of a connection, and what a certificate says, in RabbitMQ's forms. */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** One of the names that a certificate gives its owner besides the subject. */
export interface AlternativeName {
  readonly type: 'dns' | 'ip' | 'email' | 'uri'
  readonly value: string
}

/** The certificate that a client showed, and that was verified. */
export interface Certificate {
  /** As RFC 4514 writes it, for example `CN=client,O=acme`. */
  readonly subject: string
  readonly issuer: string
  /** For example `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z`. */
  readonly validity: string
  readonly commonNames: readonly string[]
  readonly alternativeNames: readonly AlternativeName[]
}

export interface TlsSession {
  /** For example `tlsv1.3`. */
  readonly protocol: string
  /** For example `ecdhe_ecdsa`; `any` where the cipher suite does not say. */
  readonly keyExchange: string
  /** For example `aes_256_gcm`. */
  readonly cipher: string
  /** For example `sha256`; `aead` where the cipher needs none. */
  readonly hash: string
  /** Null: the client showed none. */
  readonly certificate: Certificate | null
}

/** What is known of a TLS socket whose handshake is done. */
export function tlsSession(socket: TLSSocket): TlsSession {
  const certificate = socket.getPeerX509Certificate()
  return {
    protocol: socket.getProtocol()?.toLowerCase() ?? '',
    ...suiteParts(socket.getCipher().standardName),
    // One that nobody asked for, or that was not verified, proves nothing.
    certificate:
      certificate === undefined || !socket.authorized ? null : certificateOf(certificate),
  }
}

/** Takes apart the name of a cipher suite, such as TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384. */
function suiteParts(name: string): Pick<TlsSession, 'keyExchange' | 'cipher' | 'hash'> {
  const [, keyExchange = 'any', cipher = '', hash = ''] =
    /^TLS_(?:(.+)_WITH_)?(.+?)_?(SHA\d*)?$/.exec(name) ?? []
  const sealed = /GCM|CCM|POLY1305/.test(cipher)
  return {
    keyExchange: keyExchange.toLowerCase(),
    cipher: cipher.toLowerCase(),
    hash: sealed ? 'aead' : hash.toLowerCase(),
  }
}

function certificateOf(certificate: X509Certificate): Certificate {
  const { subject, issuer, validFrom, validTo, subjectAltName } = certificate
  return {
    subject: distinguishedName(subject),
    issuer: distinguishedName(issuer),
    validity: `${moment(validFrom)} - ${moment(validTo)}`,
    commonNames: commonNamesIn(subject),
    alternativeNames: alternativeNamesIn(subjectAltName ?? ''),
  }
}

function moment(text: string): string {
  return new Date(text).toISOString().replace('.000Z', 'Z')
}

/** What RabbitMQ calls the parts of a name that OpenSSL calls otherwise. */
const partNames: Readonly<Record<string, string>> = {
  GN: 'GIVENNAME',
  emailAddress: 'EMAILADDRESS',
  generationQualifier: 'GENERATIONQUALIFIER',
  initials: 'INITIALS',
  pseudonym: 'PSEUDONYM',
  serialNumber: 'SERIALNUMBER',
  street: 'STREET',
  title: 'TITLE',
}

/**
 * A name from Node's form, one part to a line from the root down, to that of RFC 4514, from the
 * leaf up. Both escape alike, but RabbitMQ's leaves only printable ASCII as it is.
 */
function distinguishedName(lines: string): string {
  return lines
    .split('\n')
    .reverse()
    .map(line => line.split(' + ').map(part).join('+'))
    .join(',')
}

function part(text: string): string {
  const at = text.indexOf('=')
  const name = text.slice(0, at)
  return `${partNames[name] ?? name}=${asciiOnly(text.slice(at + 1))}`
}

function asciiOnly(value: string): string {
  return value.replace(/[^ -}]/gu, character =>
    Array.from(Buffer.from(character), octet => `\\${octet.toString(16).toUpperCase()}`).join(''),
  )
}

/** The common names of a subject, from the root down, as they were before they were escaped. */
function commonNamesIn(subject: string): string[] {
  return subject
    .split(/\n| \+ /)
    .filter(line => line.startsWith('CN='))
    .map(line => unescaped(line.slice('CN='.length)))
}

function unescaped(value: string): string {
  return value.replace(/\\([0-9A-F]{2})|\\(.)/g, (_, hex?: string, plain?: string) =>
    hex === undefined ? (plain as string) : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

const alternativeTypes: Readonly<Record<string, AlternativeName['type']>> = {
  DNS: 'dns',
  'IP Address': 'ip',
  URI: 'uri',
  email: 'email',
}

/** Names from Node's form: `DNS:a.example, IP Address:10.0.0.1`, in quotes if they would be mistaken. */
function alternativeNamesIn(text: string): AlternativeName[] {
  const found: AlternativeName[] = []
  const names = text.matchAll(/(?:^|, )([^:,"]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))/g)
  for (const [, kind = '', quoted, plain = ''] of names) {
    const type = alternativeTypes[kind]
    if (type === undefined) continue
    found.push({ type, value: quoted === undefined ? plain : JSON.parse(quoted) })
  }
  return found
}
