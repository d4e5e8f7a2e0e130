/**
 * Settings while they are gathered: the file, the environment and the command line give values
 * one after the other, a later one wins, and all that is wrong is reported together.
 */
import { inspect } from 'node:util'
import {
  defaultSettings,
  isSettingName,
  type Row,
  type Settings,
  settingRows,
  settingsTable,
} from './settings-table.js'

/** Says everything that is wrong with the settings, one line per problem. */
export class SettingsError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'SettingsError'
    this.problems = problems
  }
}

/** Gathers values and problems; `at` is always the place to show, such as `leveret.yaml:3:1`. */
export class SettingsDraft {
  readonly #values: Record<string, unknown> = { ...defaultSettings }
  readonly problems: string[] = []

  give(at: string, name: string, value: unknown): void {
    if (!isSettingName(name)) {
      this.problems.push(`${at}: ${name}: ${unknownAmong(settingNames, name)}`)
      return
    }
    const { kind, secret }: Row<unknown> = settingsTable[name]
    const read = kind.read(value)
    if (read !== undefined) this.#values[name] = read
    else {
      const got = secret ? `${typeof value}, not shown` : brief(value)
      this.problems.push(
        `${at}: ${name}: must be ${kind.noun} (got ${got}, allowed ${kind.allowed})`,
      )
    }
  }

  /** The settings, or a SettingsError. */
  finish(): Settings {
    if (this.problems.length > 0) throw new SettingsError(this.problems)
    return Object.freeze(this.#values) as Settings
  }
}

/** Every dotted name. */
export const settingNames: readonly string[] = settingRows.map(([name]) => name)

/** Says that a name is none of the known ones, and which of them is near. */
export function unknownAmong(known: Iterable<string>, name: string): string {
  let nearest = ''
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least) [nearest, least] = [candidate, distance]
  }
  return nearest ? `unknown, did you mean '${nearest}'?` : 'unknown'
}

/** A value as it is shown in a problem: on one line, and short. */
export function brief(value: unknown): string {
  return inspect(value, { depth: 1, breakLength: Infinity, maxArrayLength: 5, maxStringLength: 60 })
}

// Levenshtein's distance, row by row.
function editDistance(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = above[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1))
    }
    above = row
  }
  return above[to.length]!
}
