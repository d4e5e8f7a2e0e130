#!/usr/bin/env node
/** The program `leveret`: settings, node, signals. Nothing else. */
import { DefinitionsError } from './broker/import/import.js'
import { helpText } from './node/command-line.js'
import { FolderInUse } from './node/folder-lock.js'
import { listeningText } from './node/listeners.js'
import { createLogger } from './node/logger.js'
import { memoryLimit } from './node/memory-monitor.js'
import { Node } from './node/node.js'
import { bracketed } from './node/setting-kinds.js'
import { readSettings, type SettingsRead } from './node/settings.js'
import { SettingsError } from './node/settings-draft.js'
import { settingsText } from './node/settings-file.js'
import { version } from './node/version.js'

/** Exit codes of sysexits.h: a bad configuration, and an address or a data folder that is taken. Else 1. */
const exitConfiguration = 78
const exitUnavailable = 69
const exitFailed = 1

async function main(): Promise<void> {
  const read = await settingsOrExit()
  switch (read.command) {
    case 'help':
      process.stdout.write(helpText())
      return
    case 'version':
      process.stdout.write(`${version}\n`)
      return
    case 'print-config':
      process.stdout.write(settingsText(read.settings, 'redacted'))
      return
    case 'check-config':
      process.stdout.write('the configuration is good\n')
      return
    case 'run':
      await run(read)
  }
}

async function settingsOrExit(): Promise<SettingsRead> {
  try {
    return await readSettings()
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(exitConfiguration)
  }
}

async function run({ settings, origin }: SettingsRead): Promise<void> {
  const log = createLogger(settings, process.stdout.isTTY)
  log.info({}, `Starting Leveret ${version} on Node.js ${process.versions.node}`)
  let node: Node
  try {
    node = await Node.start(settings, log)
  } catch (error) {
    if (error instanceof SettingsError || error instanceof DefinitionsError) {
      for (const problem of error.problems) log.error({}, problem)
      process.exitCode = exitConfiguration
      return
    }
    const { code, message, syscall } = error as NodeJS.ErrnoException
    const listening = syscall === 'listen' || syscall === 'getaddrinfo'
    log.error({ code }, `could not ${listening ? 'listen' : 'start'}: ${message}`)
    const taken = listening || error instanceof FolderInUse
    process.exitCode = taken ? exitUnavailable : exitFailed
    return
  }
  const mebibytes = Math.round(memoryLimit(settings) / 2 ** 20)
  log.info({}, `Memory high watermark set to ${mebibytes} MiB`)
  for (const listening of node.listening)
    log.info({ ...listening }, `started ${listeningText(listening)}`)
  const { management } = node
  if (management !== null) {
    const { host, port } = management
    const where = `${bracketed(host)}:${port}`
    log.info({ host, port }, `Management plugin: HTTP (non-TLS) listener started on ${where}`)
  }
  if (process.stdout.isTTY) process.stdout.write(banner(node, origin))
  log.info({}, 'Server startup complete')

  let signalled = false
  const stop = (signal: NodeJS.Signals) => {
    // Who asks twice does not want to wait.
    if (signalled) process.exit(signal === 'SIGINT' ? 130 : 143)
    signalled = true
    log.info({ signal }, `stopping on ${signal}`)
    node.stop().then(
      () => log.info({}, 'stopped'),
      error => {
        log.error({ err: error }, 'could not stop in order')
        process.exitCode = 1
      },
    )
  }
  const reload = () =>
    node.renewCertificates().then(
      () => log.info({}, 'certificates are read anew'),
      error => log.error({}, `certificates stay as they are: ${error.message}`),
    )
  process.on('SIGHUP', reload)
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}

function banner(node: Node, origin: string | null): string {
  const { management } = node
  const listeners = node.listening.map(listeningText).join('\n                ')
  return `
  Leveret ${version}

    AMQP        ${listeners}
    management  ${management === null ? 'none' : `${bracketed(management.host)}:${management.port}`}
    settings    ${origin ?? 'defaults'}
    data        ${node.folder?.path ?? 'in memory; nothing survives a stop'}

`
}

await main()
