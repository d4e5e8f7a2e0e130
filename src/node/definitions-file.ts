/** Documents of definitions on the disk: one file, or all `*.json` of a folder in the order of their names. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Broker } from '../broker/broker.js'
import type { DefinitionsSource } from '../broker/import/document.js'
import { DefinitionsError, importDefinitions } from '../broker/import/import.js'

/** Reads the documents at a path; throws a DefinitionsError. */
export async function readDefinitions(path: string): Promise<DefinitionsSource[]> {
  try {
    const isFolder = (await stat(path)).isDirectory()
    const names = isFolder
      ? (await readdir(path)).filter(name => name.endsWith('.json')).sort()
      : []
    const files = isFolder ? names.map(name => join(path, name)) : [path]
    return await Promise.all(
      files.map(async from => ({ from, value: parsed(from, await readFile(from, 'utf8')) })),
    )
  } catch (error) {
    if (error instanceof DefinitionsError) throw error
    throw new DefinitionsError([`${path}: cannot be read (${(error as Error).message})`])
  }
}

/** Whether any of them names something in a section. */
export function definesAny(sources: readonly DefinitionsSource[], section: string): boolean {
  return sources.some(({ value }) => {
    const items = (value as Record<string, unknown> | null)?.[section]
    return Array.isArray(items) && items.length > 0
  })
}

/** Adds all of them to a broker. Throws a DefinitionsError. */
export function loadDefinitions(broker: Broker, sources: readonly DefinitionsSource[]): void {
  const { log } = broker.world
  for (const line of importDefinitions(broker, sources)) log.warn({}, `left out ${line}`)
  for (const { from } of sources) log.info({}, `the definitions in ${from} are loaded`)
}

function parsed(from: string, text: string): unknown {
  try {
    // Windows likes to put a byte order mark in front.
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new DefinitionsError([`${from}: is no JSON (${(error as Error).message})`])
  }
}
