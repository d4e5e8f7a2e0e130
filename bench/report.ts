// The table of medians, ratios and targets.

import type { Scenario, Target } from './scenarios.js'
import type { Figure, TrialResult } from './trials.js'

/** All rounds of one scenario, by the broker's name; a failed round has faults and no figures. */
export interface Measured {
  scenario: Scenario
  rounds: Map<string, TrialResult[]>
}

export interface Spread {
  median: number
  min: number
  max: number
}

const headings = ['scenario', 'figure', 'leveret', 'rival', 'ratio', 'target', '']
const RIGHT_ALIGNED = new Set([2, 3, 4])

/** Lines for a terminal: one row per figure of each scenario. */
export function table(measured: readonly Measured[], ours: string, rival: string): string {
  const lines = [headings.map(heading => (heading === 'rival' ? rival : heading))]
  for (const { scenario, rounds } of measured) {
    for (const [index, row] of scenario.rows.entries()) {
      const us = spread(rounds.get(ours), row.figure)
      const them = spread(rounds.get(rival), row.figure)
      const title = index === 0 ? scenario.title : ''
      const ratio = us !== null && them !== null ? us.median / them.median : null
      const bar =
        row.target === undefined
          ? null
          : height(row.target, them, rounds.get(ours), id =>
              spread(
                measured.find(({ scenario }) => scenario.id === id)?.rounds.get(ours),
                row.figure,
              ),
            )
      lines.push([
        title,
        row.label,
        shown(us),
        shown(them),
        ratio === null ? '' : `${significant(ratio)}×`,
        row.target === undefined ? '' : promise(row.target),
        us === null || bar === null ? '' : met(bar, us.median),
      ])
    }
  }
  return aligned(lines)
}

/** Median, least and most of a figure over the rounds that have it. */
export function spread(rounds: readonly TrialResult[] | undefined, figure: Figure): Spread | null {
  const values = (rounds ?? []).flatMap(round => round.figures[figure] ?? [])
  if (values.length === 0) return null
  values.sort((a, b) => a - b)
  const middle = values.length / 2
  const [low, high] = [
    values[Math.ceil(middle) - 1] as number,
    values[Math.floor(middle)] as number,
  ]
  return { median: (low + high) / 2, min: values[0] as number, max: values.at(-1) as number }
}

function promise(target: Target): string {
  if ('timesRivalAtLeast' in target) {
    const { timesRivalAtLeast, orWindow } = target
    return `>= ${timesRivalAtLeast}×${orWindow === undefined ? '' : ', or what the disk gives'}`
  }
  if ('timesRivalAtMost' in target) return `<= ${significant(target.timesRivalAtMost)}×`
  if ('syncsAboveRival' in target) return `<= rival + ${target.syncsAboveRival} fdatasync`
  if ('ofScenario' in target) return `>= ${target.timesAtLeast}× ${target.ofScenario}`
  return 'atLeast' in target ? `>= ${number(target.atLeast)}` : `<= ${number(target.atMost)}`
}

/** What a figure must reach or not exceed. */
type Bar = { atLeast: number } | { atMost: number }

/** Where the bar of a target lies; null if what it refers to was not measured. */
function height(
  target: Target,
  rival: Spread | null,
  rounds: readonly TrialResult[] | undefined,
  same: (scenario: string) => Spread | null,
): Bar | null {
  if ('atLeast' in target || 'atMost' in target) return target
  if ('ofScenario' in target) {
    const other = same(target.ofScenario)
    return other === null ? null : { atLeast: other.median * target.timesAtLeast }
  }
  if (rival === null) return null
  const sync = spread(rounds, 'syncMicros')
  if ('timesRivalAtLeast' in target) {
    const atLeast = rival.median * target.timesRivalAtLeast
    if (target.orWindow === undefined || sync === null) return { atLeast }
    const ofDisk = (target.orWindow * 1e6) / (1.5 * sync.median)
    return { atLeast: Math.min(atLeast, 0.8 * ofDisk) }
  }
  if ('timesRivalAtMost' in target) return { atMost: rival.median * target.timesRivalAtMost }
  return sync && { atMost: rival.median + target.syncsAboveRival * sync.median }
}

function met(bar: Bar, value: number): string {
  const yes = 'atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost
  return yes ? 'met' : 'missed'
}

function shown(spread: Spread | null): string {
  if (spread === null) return ''
  const { median, min, max } = spread
  return `${number(median)} (${number(min)}–${number(max)})`
}

function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { maximumFractionDigits: digits })
}

const significant = (value: number): string => String(Number(value.toPrecision(3)))

function aligned(lines: string[][]): string {
  const widths = headings.map((_, column) =>
    Math.max(...lines.map(line => line[column]?.length ?? 0)),
  )
  const rule = widths.map(width => '-'.repeat(width))
  return [lines[0] as string[], rule, ...lines.slice(1)]
    .map(line =>
      line
        .map((cell, column) => {
          const width = widths[column] as number
          return RIGHT_ALIGNED.has(column) ? cell.padStart(width) : cell.padEnd(width)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
