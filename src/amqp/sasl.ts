/**
 * SASL: the ways in which a client says who it is, and what each of them makes of its response.
 * Whether that is true is for the users to say.
 */
import type { Certificate, TlsSession } from '../platform/tls-session.js'
import { checkTable, decodeTable, lookup, textOf } from '../wire/field-table.js'

/** Who a client claims to be; no password: its certificate proves it. */
export interface Login {
  readonly user: string
  readonly password: string | null
}

/** What becomes of a response: a login to check, a question, a refusal for the log, or null: it is malformed. */
export type Answer = Login | { readonly challenge: Buffer } | { readonly refusal: string } | null

/** What a certificate says of its owner that is taken for the name of a user. */
export interface CertificateLogin {
  readonly from: 'distinguished_name' | 'common_name' | 'subject_alternative_name'
  /** Which of the alternative names: those of one type, counted from 0. */
  readonly type: 'dns' | 'ip' | 'email' | 'uri'
  readonly index: number
}

/** What the mechanisms are told. */
export interface SaslSettings {
  /** In the order in which they are offered. */
  readonly mechanisms: readonly string[]
  /** As whom ANONYMOUS logs in; null: it is not offered. */
  readonly anonymous: Login | null
  /** Null: certificates are not verified, so nobody logs in by one. */
  readonly certificateLogin: CertificateLogin | null
}

interface Mechanism {
  /** Whether it is offered on a connection, which may be one of TLS. */
  offered(settings: SaslSettings, tls: boolean): boolean
  /** Makes something of a response; `first` is the one before a challenge. */
  respond(response: Buffer, settings: SaslSettings, tls: TlsSession | null, first: Buffer): Answer
}

const always = () => true

const mechanisms: Readonly<Record<string, Mechanism>> = {
  PLAIN: { offered: always, respond: plain },
  AMQPLAIN: { offered: always, respond: amqplain },
  ANONYMOUS: {
    offered: ({ anonymous }) => anonymous !== null,
    respond: (_, { anonymous }) => anonymous,
  },
  // Also to a client that showed no certificate: RabbitMQ's reason is the better error it then gets.
  EXTERNAL: {
    offered: (_, tls) => tls,
    respond: (_, { certificateLogin }, tls) => external(certificateLogin, tls?.certificate ?? null),
  },
  'RABBIT-CR-DEMO': { offered: always, respond: challenged },
}

/** The mechanisms offered on a connection. */
export function offered(settings: SaslSettings, tls: boolean): readonly string[] {
  return settings.mechanisms.filter(name => mechanisms[name]?.offered(settings, tls))
}

/** Makes something of a response to a mechanism that was offered; `first` is the response before a challenge. */
export function respond(
  mechanism: string,
  response: Buffer,
  settings: SaslSettings,
  tls: TlsSession | null,
  first: Buffer,
): Answer {
  return mechanisms[mechanism]?.respond(response, settings, tls, first) ?? null
}

/** PLAIN: an optional identity to act as (ignored), then user and password, each behind a zero octet. */
function plain(response: Buffer): Answer {
  const parts = response.toString('utf8').split('\0')
  if (parts.length !== 3) return null
  return { user: parts[1] as string, password: parts[2] as string }
}

/** AMQPLAIN: a field table without its length. */
function amqplain(response: Buffer): Answer {
  if (!checkTable(response, 0, response.length)) return null
  const table = decodeTable(response, 0, response.length)
  const user = textOf(lookup(table, 'LOGIN'))
  const password = textOf(lookup(table, 'PASSWORD'))
  return user === undefined || password === undefined ? null : { user, password }
}

/** EXTERNAL: the certificate says it all. The refusals are RabbitMQ's. */
function external(login: CertificateLogin | null, certificate: Certificate | null): Answer {
  if (certificate === null)
    return { refusal: 'connection peer presented no TLS (x.509) certificate' }
  if (login === null) return { refusal: 'TLS configuration is unsafe' }
  const user = nameIn(certificate, login)
  return user === undefined ? { refusal: 'no name found' } : { user, password: null }
}

function nameIn(
  certificate: Certificate,
  { from, type, index }: CertificateLogin,
): string | undefined {
  if (from === 'distinguished_name') return certificate.subject
  const { commonNames, alternativeNames } = certificate
  if (from === 'subject_alternative_name')
    return alternativeNames.filter(name => name.type === type)[index]?.value
  // As RabbitMQ joins several.
  return commonNames.length === 0 ? undefined : commonNames.join(',')
}

const challenge = Buffer.from('Please tell me your password')
const challengeAnswered = 'My password is '

/** RABBIT-CR-DEMO: PLAIN in two steps, to try challenges with. */
function challenged(
  response: Buffer,
  _: SaslSettings,
  __: TlsSession | null,
  first: Buffer,
): Answer {
  const text = response.toString('utf8')
  if (first.length === 0) return { challenge }
  if (!text.startsWith(challengeAnswered)) return null
  return { user: first.toString('utf8'), password: text.slice(challengeAnswered.length) }
}
