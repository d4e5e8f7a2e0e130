/** What leveretctl says of the logs of a data folder, in lines for people. */
import { damageText } from '../store/damage.js'
import type { SegmentFacts } from '../store/inspection.js'
import type { InspectedFolder, InspectedLog } from './log-inspection.js'
import type { LogFigures, QueueFigures } from './log-stats.js'
import type { QueueNames } from './queue-names.js'

/** Nothing that was durable is missing. */
export function isSound({ logs }: InspectedFolder): boolean {
  return logs.every(({ damages }) => damages.length === 0)
}

/** Whether the logs are sound, and what the next start does about it. */
export function verifyLines(found: InspectedFolder, names: QueueNames): string[] {
  return [
    `${found.folder}: ${counted(found.epoch, 'start')}`,
    ...found.logs.flatMap(log => [logLine(log), ...logNotes(log, names).map(note => `  ${note}`)]),
    isSound(found) ? 'sound' : 'damaged',
  ]
}

/** What stands in the logs; the figures are those of the logs in their order. */
export function statsLines(
  found: InspectedFolder,
  figures: readonly LogFigures[],
  queues: readonly QueueFigures[],
  names: QueueNames,
): string[] {
  const lines = [`${found.folder}: ${counted(found.epoch, 'start')}`]
  for (const [i, log] of found.logs.entries()) {
    const { records, left } = figuresOf(log, figures[i] as LogFigures)
    lines.push(logLine(log), `  ${bytesText(left.live)} live, ${bytesText(left.dead)} dead`)
    for (const [kind, count] of records)
      lines.push(`  ${kind}: ${counted(count.records, 'record')}, ${bytesText(count.bytes)}`)
  }
  for (const { number, messages, bytes } of queues) {
    const name = names.text(number)
    const queue = name === undefined ? `deleted queue ${number}` : `queue ${name}`
    lines.push(`${queue}: ${counted(messages, 'message')}, ${bytesText(bytes)}`)
  }
  return lines
}

/** The figures of a log, for people and for programs. */
export function figuresOf(log: InspectedLog, figures: LogFigures) {
  const { messages, bytes: live } = figures.left()
  const bytes = bytesOf(log.segments) + bytesOf(log.unused)
  return { records: figures.records, left: { messages, live, dead: bytes - live } }
}

function logLine({ name, segments, records, clean }: InspectedLog): string {
  const size = `${counted(segments.length, 'segment')}, ${bytesText(bytesOf(segments))}`
  const end = clean ? 'closed in order' : 'not closed in order'
  return `${name}: ${size}, ${counted(records, 'record')}, ${end}`
}

function logNotes(log: InspectedLog, names: QueueNames): string[] {
  const { cutBytes, segments, unused, damages } = log
  const notes: string[] = []
  if (cutBytes > 0) notes.push(`the next start cuts off a torn tail of ${cutBytes} bytes`)
  for (const { number } of unused)
    notes.push(`the next start removes segment ${number}: nothing in it counts`)
  for (const { number, index } of segments)
    if (index === 'damaged')
      notes.push(`the index of segment ${number} cannot be read: the next start reads its records`)
  const nameOf = (queue: number) => names.text(queue)
  return [...notes, ...damages.map(damage => `DAMAGE: ${damageText(damage, nameOf)}`)]
}

const bytesOf = (segments: readonly SegmentFacts[]) =>
  segments.reduce((sum, { bytes }) => sum + bytes, 0)

const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`

function bytesText(bytes: number): string {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(bytes, 1)) / 10))
  if (power === 0) return counted(bytes, 'byte')
  return `${(bytes / 1024 ** power).toFixed(1)} ${' KMGT'[power]}iB`
}
