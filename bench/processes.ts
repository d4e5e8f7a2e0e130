// What Linux tells about processes: CPU time, memory, and who listens on a port.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

export interface ProcessFigures {
  /** User and system time of all threads. */
  cpuSeconds: number
  rssMiB: number
  /** The most that was resident since the last `resetPeaks`. */
  peakMiB: number
  /** Bytes given to disks so far; NaN if that is not ours to know. */
  writtenBytes: number
}

export function readProcesses(pids: readonly number[]): ProcessFigures {
  const figures = { cpuSeconds: 0, rssMiB: 0, peakMiB: 0, writtenBytes: 0 }
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // the name may hold spaces; utime and stime are fields 14 and 15
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    figures.cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    figures.rssMiB += kibibytes(status, 'VmRSS') / 1024
    figures.peakMiB += kibibytes(status, 'VmHWM') / 1024
    figures.writtenBytes += written(pid)
  }
  return figures
}

export function resetPeaks(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, '5')
    } catch {
      // another user's process: its peak then is that of its whole life
    }
  }
}

/** Seconds that all CPUs of the machine were busy, those taken by other machines included. */
export function busySeconds(): number {
  const line = readFileSync('/proc/stat', 'utf8').split('\n')[0] as string
  const [user, nice, system, , , irq, softIrq, steal] = line.split(/ +/).slice(1).map(Number)
  const ticks = [user, nice, system, irq, softIrq, steal] as number[]
  return ticks.reduce((sum, value) => sum + value, 0) / TICKS_PER_SECOND
}

/** The processes that listen on a TCP port of this machine. */
export function listeners(port: number): number[] {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/ +/)
      const localPort = Number.parseInt(fields[1]?.split(':').at(-1) ?? '', 16)
      if (fields[3] === '0A' && localPort === port) inodes.add(`socket:[${fields[9]}]`)
    }
  }
  const numbers = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return numbers.map(Number).filter(pid => descriptors(pid).some(target => inodes.has(target)))
}

function descriptors(pid: number): string[] {
  const folder = `/proc/${pid}/fd`
  try {
    return readdirSync(folder).flatMap(fd => {
      try {
        return [readlinkSync(`${folder}/${fd}`)]
      } catch {
        return [] // closed meanwhile
      }
    })
  } catch {
    return [] // ended meanwhile, or not ours to look into
  }
}

function written(pid: number): number {
  try {
    const io = readFileSync(`/proc/${pid}/io`, 'utf8')
    return Number(/^write_bytes: (\d+)/m.exec(io)?.[1])
  } catch {
    return Number.NaN // another user's process
  }
}

function kibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
}
