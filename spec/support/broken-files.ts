/** Files with one of their safeties taken away: a checker of crashes must notice each. */
import type { Files, OpenFile } from '../../src/platform/files.js'
import { repairChecksums } from './checksums.js'

/** Nothing that is synced is on the disk for it. */
export function noSync(files: Files): Files {
  return withFiles(files, file => ({ ...file, sync: async () => {} }))
}

/** No name is on the disk for a synced folder. */
export function noFolderSync(files: Files): Files {
  return { ...files, syncFolder: async () => {} }
}

/** Whatever is read has the right checksum. */
export function noChecksums(files: Files): Files {
  return withFiles(files, (file, path) => ({
    ...file,
    read: async (into, at) => {
      const count = await file.read(into, at)
      repairChecksums(Buffer.from(into.buffer, into.byteOffset, count), path)
      return count
    },
  }))
}

/** Files whose open files are changed. */
function withFiles(files: Files, change: (file: OpenFile, path: string) => OpenFile): Files {
  return {
    ...files,
    create: async path => change(await files.create(path), path),
    open: async path => change(await files.open(path), path),
  }
}
