/**
 * What of a batch may be written when the disk is almost full: everything that gives room back.
 *
 * New messages are held back, and what depends on them with them. Settlements, counts of returns,
 * copies made by cleaning and messages moved from queue to queue go on, in a batch of their own. A
 * settlement of messages that are held back is written now, for the others it names, and once more
 * behind them: nothing happens twice, because a message never enters a queue again. Opaque records
 * keep their order among themselves. A batch with a transaction is written as a whole or held back
 * as a whole.
 */
import type { Batch } from './batch.js'
import { highestSettled, Kind, kindAt, movedFrom, numberAt } from './record.js'

/**
 * Moves what may be written from `batch` to `relief`; what has numbers from `heldFrom` on is held
 * back already.
 */
export function relieve(batch: Batch, heldFrom: number, relief: Batch): void {
  relief.relief = true
  relief.urgent = batch.urgent
  const from = batch.own > 0 ? Math.min(heldFrom, batch.first) : heldFrom
  const stays = (bytes: Buffer, at: number) => {
    const kind = kindAt(bytes, at)
    if (kind === Kind.message) return batch.isOwn(numberAt(bytes, at))
    return kind === Kind.opaque || (kind === Kind.moved && movedFrom(bytes, at) >= from)
  }
  if (batch.atomic) {
    let whole = true
    batch.forEach((bytes, at) => {
      if (stays(bytes, at)) whole = false
    })
    if (!whole) return
  }
  relief.waiting.push(...batch.waiting.splice(0))
  batch.forEach((bytes, at, end, parts) => {
    if (stays(bytes, at)) return
    relief.reserve(end - at, parts)
    bytes.copy(relief.buffer, relief.at, at, end)
    if (kindAt(bytes, at) === Kind.settled && highestSettled(bytes, at) >= from) return
    batch.drop(bytes, at)
  })
}
