// The table of medians, ratios and targets.

import type { Row, Scenario, Target } from './scenarios.js'
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
      lines.push([
        title,
        row.label,
        shown(us),
        shown(them),
        ratio === null ? '' : `${significant(ratio)}×`,
        row.target === undefined ? '' : promise(row.target),
        verdict(row, us, ratio),
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
  if ('timesRivalAtLeast' in target) return `>= ${target.timesRivalAtLeast}×`
  if ('timesRivalAtMost' in target) return `<= ${target.timesRivalAtMost}×`
  return 'atLeast' in target ? `>= ${number(target.atLeast)}` : `<= ${number(target.atMost)}`
}

function verdict({ target }: Row, us: Spread | null, ratio: number | null): string {
  if (target === undefined || us === null) return ''
  if ('atLeast' in target) return met(us.median >= target.atLeast)
  if ('atMost' in target) return met(us.median <= target.atMost)
  if (ratio === null) return ''
  if ('timesRivalAtLeast' in target) return met(ratio >= target.timesRivalAtLeast)
  return met(ratio <= target.timesRivalAtMost)
}

const met = (yes: boolean): string => (yes ? 'met' : 'missed')

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
