/**
 * What stands in `format.json` of a data folder, one object:
 *
 *     {"format":1,"epoch":12,"version":"0.1.0"}
 *
 * `format` is the version of the folder as a whole, raised when what lies where changes; the logs in
 * it carry versions of their own. `epoch` counts the starts on this folder. `version` is that of the
 * broker that started last.
 */
import { type Files, readAll, writeAll } from '../platform/files.js'
import { version } from './version.js'

const formatVersion = 1

const fileName = 'format.json'

/** The folders of the logs, in the order in which they are read. */
export const logFolders: readonly string[] = ['definitions', 'messages']

/** The folder cannot be used as it is; the message says why, and what may be done. */
export class FolderRefused extends Error {
  override readonly name = 'FolderRefused'
}

/** Checks that this version can use a folder, and counts the start; returns the epoch, from 1. */
export async function enterFolder(files: Files, folder: string): Promise<number> {
  const epoch = 1 + (await checkFolder(files, folder))
  const names = await files.list(folder)
  const text = JSON.stringify({ format: formatVersion, epoch, version })
  const path = `${folder}/${fileName}`
  if (names.includes(`${fileName}.new`)) await files.remove(`${path}.new`)
  const file = await files.create(`${path}.new`)
  try {
    await writeAll(file, [Buffer.from(`${text}\n`)], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await files.rename(`${path}.new`, path)
  await files.syncFolder(folder)
  return epoch
}

/** Checks that this version can use a folder; returns the epoch of the last start, 0 if there was none. */
export async function checkFolder(files: Files, folder: string): Promise<number> {
  const names = await files.list(folder)
  const path = `${folder}/${fileName}`
  if (!names.includes(fileName)) {
    const log = names.find(name => logFolders.includes(name))
    if (log === undefined) return 0
    throw new FolderRefused(
      `the data folder ${folder} has ${log}, but no ${fileName} that tells its version: ` +
        'put the file back, or take everything out of the folder',
    )
  }
  const { format, epoch, version: writer } = await read(files, path)
  if (!Number.isSafeInteger(format) || !Number.isSafeInteger(epoch))
    throw new FolderRefused(`${path} does not tell the format of the data folder: it is damaged`)
  if ((format as number) > formatVersion)
    throw new FolderRefused(
      `the data folder ${folder} has format ${format}, written by version ${writer}; ` +
        `this is version ${version}, which knows formats up to ${formatVersion}. ` +
        'Start the version that wrote it, or a later one.',
    )
  // There is no older format yet: a folder that has one is changed here, before anything is opened.
  return epoch as number
}

async function read(files: Files, path: string): Promise<Record<string, unknown>> {
  const file = await files.open(path)
  try {
    const bytes = Buffer.alloc(await file.size())
    await readAll(file, bytes, 0)
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  } finally {
    await file.close()
  }
}
