/**
 * Every setting, once: it types the settings, checks what is given, and fills --help and
 * config/leveret.yaml. The names are rabbitmq.conf's own where it has one.
 */
import {
  boolean,
  duration,
  endpoints,
  fraction,
  integer,
  type Kind,
  limit,
  list,
  multiple,
  oneOf,
  optional,
  pattern,
  port,
  portOrNone,
  size,
  someOf,
  sources,
  text,
  textOrEmpty,
  textOrNone,
} from './setting-kinds.js'

/** A flag of the command line that gives one setting. */
export interface Flag {
  readonly name: string
  /** What the flag takes, for --help; without it the flag takes nothing and gives `means`. */
  readonly takes?: string
  readonly means?: string
}

/** One setting. */
export interface Row<T> {
  readonly kind: Kind<T>
  readonly default: T
  readonly sentence: string
  readonly flag?: Flag
  /** Never printed, not even in an error. */
  readonly secret?: true
}

const row = <T>(
  kind: Kind<T>,
  standard: NoInfer<T>,
  sentence: string,
  more: Pick<Row<T>, 'flag' | 'secret'> = {},
): Row<T> => ({ kind, default: standard, sentence, ...more })

const MiB = 1024 ** 2

/** The version of RabbitMQ whose behaviour is the reference; clients switch on it. */
export const productVersion = '4.3.5'

/** The settings, in the order of config/leveret.yaml; those with a common prefix stand together. */
export const settingsTable = {
  'listeners.tcp.default': row(
    endpoints,
    [{ host: null, port: 5672 }],
    'Where AMQP clients connect: a port, an address with a port, or several; 0 takes any free one.',
    { flag: { name: 'port', takes: 'PORT' } },
  ),
  'listeners.tcp.ip': row(
    text,
    '::',
    'Address of every port without one; :: is every interface, IPv4 and IPv6.',
    { flag: { name: 'host', takes: 'ADDRESS' } },
  ),
  'listeners.ssl.default': row(
    endpoints,
    [],
    'Where clients connect by TLS; the usual port is 5671. Needs ssl_options.',
  ),
  'ssl_options.cacertfile': row(
    textOrNone,
    null,
    'Certificates of the authorities that client certificates are verified by (PEM).',
  ),
  'ssl_options.certfile': row(
    textOrNone,
    null,
    'Certificate of the broker, and those that lead to its authority (PEM).',
  ),
  'ssl_options.keyfile': row(textOrNone, null, 'Private key of that certificate (PEM).'),
  'ssl_options.password': row(textOrNone, null, 'Password of the private key.', { secret: true }),
  'ssl_options.verify': row(
    oneOf('verify_none', 'verify_peer'),
    'verify_none',
    'Ask clients for a certificate and refuse bad ones (verify_peer), or do not ask.',
  ),
  'ssl_options.fail_if_no_peer_cert': row(
    boolean,
    false,
    'With verify_peer, refuse clients that have no certificate.',
  ),
  'ssl_options.versions': row(
    someOf('tlsv1.3', 'tlsv1.2'),
    ['tlsv1.3', 'tlsv1.2'],
    'Versions of TLS that are spoken.',
  ),
  'ssl_options.ciphers': row(
    list,
    [],
    "Cipher suites by OpenSSL's names, the preferred first; none takes Node's own choice.",
  ),
  'ssl_options.honor_cipher_order': row(
    boolean,
    true,
    "Choose the cipher suite by the broker's order, not by the client's.",
  ),
  ssl_handshake_timeout: row(
    duration(1),
    5000,
    'How long what stands before AMQP may take: PROXY header, TLS handshake, upgrade to WebSocket.',
  ),
  proxy_protocol: row(
    boolean,
    false,
    'Every connection begins with the header of a proxy (PROXY protocol, versions 1 and 2).',
  ),
  proxy_protocol_trusted_sources: row(
    sources,
    [],
    'Proxies that are believed; all others are refused. None means that everybody is believed.',
  ),
  'web_amqp.tcp.port': row(
    endpoints,
    [],
    'Where clients connect by WebSocket, for example from a browser.',
  ),
  'web_amqp.ssl.port': row(
    endpoints,
    [],
    'Where clients connect by WebSocket over TLS (wss). Needs ssl_options.',
  ),
  'web_amqp.allow_origins': row(
    list,
    [],
    'Pages of other hosts that may connect, such as https://app.example.com; "*" is every one.',
  ),
  'tcp_listen_options.backlog': row(
    integer(1, 65535),
    128,
    'How many connections the system may hold until they are accepted.',
  ),
  'tcp_listen_options.nodelay': row(
    boolean,
    true,
    "Send small packets at once (switches Nagle's algorithm off).",
  ),
  'tcp_listen_options.keepalive': row(
    boolean,
    false,
    'Let the system probe silent connections, for clients without heartbeats.',
  ),
  heartbeat: row(
    integer(0, 65535, 's'),
    60,
    'Heartbeat proposed to clients, in seconds; 0 proposes none.',
  ),
  frame_max: row(
    integer(4096, 2 ** 31, 'bytes'),
    131_072,
    'Largest frame offered to clients, in bytes.',
  ),
  channel_max: row(integer(1, 65535), 2047, 'Most channels one connection may open.'),
  max_message_size: row(
    size(1, 512 * MiB),
    128 * MiB,
    'Largest message body; a larger one closes the channel.',
  ),
  handshake_timeout: row(
    duration(1),
    10_000,
    'How long a client may take from the first octet of AMQP until its connection is open.',
  ),
  shutdown_timeout: row(
    duration(0),
    30_000,
    'How long a stop waits for clients to close before it closes their sockets.',
  ),
  max_connections: row(limit, Infinity, 'Most connections this node accepts.'),
  channel_max_per_node: row(limit, Infinity, 'Most channels of all connections together.'),
  consumer_max_per_channel: row(limit, Infinity, 'Most consumers one channel may have.'),
  consumer_timeout: row(
    optional(duration(1)),
    1_800_000,
    'How long a consumer of a quorum queue may keep a delivery unsettled; null is for ever.',
  ),
  'classic_queue.consumer_timeout': row(
    boolean,
    false,
    'Whether consumer_timeout is for classic queues too, as up to RabbitMQ 4.2.',
  ),
  'quorum_queue.default_delivery_limit': row(
    integer(-1, 65_534),
    20,
    'How often a message may come back to a quorum queue that does not say it itself; -1 is no limit.',
  ),
  'quorum_queue.failed_deliveries': row(
    oneOf('all-returns', 'rejects'),
    'all-returns',
    'What counts towards that: any return, or as in RabbitMQ 4.3 only rejects and lost consumers.',
  ),
  auth_mechanisms: row(
    someOf('PLAIN', 'AMQPLAIN', 'ANONYMOUS', 'EXTERNAL', 'RABBIT-CR-DEMO'),
    ['PLAIN', 'AMQPLAIN', 'ANONYMOUS'],
    'Ways to log in that are offered; ANONYMOUS if its user is set, EXTERNAL by TLS only.',
  ),
  anonymous_login_user: row(
    textOrNone,
    null,
    'User as whom clients log in that do not say who they are.',
  ),
  anonymous_login_pass: row(textOrNone, null, 'Password of that user.', { secret: true }),
  ssl_cert_login_from: row(
    oneOf('distinguished_name', 'common_name', 'subject_alternative_name'),
    'distinguished_name',
    'What of a client certificate is the name of the user (EXTERNAL). Needs verify_peer.',
  ),
  ssl_cert_login_san_type: row(
    oneOf('dns', 'ip', 'email', 'uri'),
    'dns',
    'Which alternative names are meant.',
  ),
  ssl_cert_login_san_index: row(integer(0, 100), 0, 'Which of them, counted from 0.'),
  default_user: row(text, 'guest', 'User created at the first start.'),
  default_pass: row(text, 'guest', 'Password of the user created at the first start.', {
    secret: true,
  }),
  default_vhost: row(text, '/', 'Virtual host created at the first start.'),
  default_user_tags: row(list, ['administrator'], 'Tags of the user created at the first start.'),
  'default_permissions.configure': row(
    pattern,
    '.*',
    'Names that user may configure in the virtual host created at the first start.',
  ),
  'default_permissions.write': row(pattern, '.*', 'Names it may write to.'),
  'default_permissions.read': row(pattern, '.*', 'Names it may read from.'),
  load_definitions: row(
    optional(text),
    null,
    'Definitions as RabbitMQ exports them, a file or a folder of *.json, added at every start; if they name users, no other is created.',
  ),
  loopback_users: row(
    list,
    ['guest'],
    'Users who may log in only from this machine; none lets all log in from anywhere.',
  ),
  'vm_memory_high_watermark.relative': row(
    fraction,
    0.6,
    'Part of the available memory above which publishers are blocked.',
  ),
  'vm_memory_high_watermark.absolute': row(
    optional(size(0, 1024 ** 5)),
    null,
    'Memory above which publishers are blocked; if set, the relative one does not count.',
  ),
  'disk_free_limit.absolute': row(
    size(0, 1024 ** 5),
    50e6,
    'Free space on the disk of data_dir below which publishers are blocked.',
  ),
  'disk_free_limit.relative': row(
    optional(multiple(1000)),
    null,
    'The same, in multiples of the available memory; if set, the absolute one does not count.',
  ),
  'log.level': row(
    oneOf('debug', 'info', 'warning', 'error', 'none'),
    'info',
    'Least severe lines that are logged.',
    { flag: { name: 'log-level', takes: 'LEVEL' } },
  ),
  'log.console.formatter': row(
    oneOf('auto', 'plaintext', 'json'),
    'auto',
    'Form of log lines; auto is plaintext on a terminal and JSON otherwise.',
    { flag: { name: 'json', means: 'json' } },
  ),
  cluster_name: row(
    textOrEmpty,
    '',
    'Name shown to clients and tools; empty derives it from the host name.',
  ),
  'product.name': row(
    text,
    'RabbitMQ',
    'Product reported to clients, which switch features on by it.',
  ),
  'product.version': row(
    text,
    productVersion,
    'Version reported to clients, which switch features on by it.',
  ),
  persistence: row(
    oneOf('file', 'memory'),
    'file',
    'Where messages and definitions are kept: in data_dir, or in memory until the broker stops.',
    { flag: { name: 'memory', means: 'memory' } },
  ),
  data_dir: row(text, './data', 'Folder for data, of this broker alone; made if it is not there.', {
    flag: { name: 'data', takes: 'DIR' },
  }),
  'management.tcp.port': row(
    portOrNone,
    15672,
    'Port of the management API; 0 takes any free one, none opens none.',
    { flag: { name: 'management-port', takes: 'PORT' } },
  ),
  'management.tcp.ip': row(
    text,
    '::',
    'Address of the management API; :: is every interface, IPv4 and IPv6.',
  ),
  nodename: row(
    textOrEmpty,
    '',
    'Name of this node to tools; empty is rabbit@ and the short name of the host.',
  ),
  'prometheus.tcp.port': row(
    port,
    15692,
    'Port of the metrics; this version accepts it and does not listen there.',
    { flag: { name: 'metrics-port', takes: 'PORT' } },
  ),
} as const satisfies Record<string, Row<unknown>>

/** The dotted name of a setting. */
export type SettingName = keyof typeof settingsTable

/** All settings by their dotted names, checked and frozen. Durations are in ms, sizes in bytes. */
export type Settings = {
  readonly [N in SettingName]: (typeof settingsTable)[N] extends Row<infer T> ? T : never
}

/** The rows with their names, in order. */
export const settingRows = Object.entries(settingsTable) as unknown as readonly (readonly [
  SettingName,
  Row<unknown>,
])[]

/** Every setting at its default. */
export const defaultSettings = Object.freeze(
  Object.fromEntries(settingRows.map(([name, row]) => [name, Object.freeze(row.default)])),
) as Settings

/** Whether a setting has this name. */
export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(settingsTable, name)
}

/** The environment variable that gives a setting. */
export function variableOf(name: string): string {
  return `LEVERET_${name.replaceAll('.', '__').toUpperCase()}`
}
