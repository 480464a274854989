/** CPU time, memory and disk writes of processes with all that they have started, from /proc (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks of /proc/<pid>/stat in a second: Linux reports 100 to every program. */
const TICKS = 100

/** What some processes have used until now. */
export interface Usage {
  processes: number
  /** User and system time in seconds, of children that have ended, too. */
  cpuSeconds: number
  /** Proportional set size in MiB: a page shared by n processes counts as 1/n of a page for each. */
  pssMib: number
  /** Bytes that these processes caused to be written to disks. */
  writtenBytes: number
}

/** The fields of /proc/<pid>/stat that a bench needs; times in seconds. */
export interface Stat {
  parent: number
  cpuSeconds: number
}

/** Parses /proc/<pid>/stat. The command in brackets may hold spaces and brackets itself. */
export function parseStat(stat: string): Stat {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return { parent: Number(fields[1]), cpuSeconds: ticks / TICKS }
}

/** The number after `name:` in a file of /proc; 0 when it is not there. */
export function parseField(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0)
}

/** The processes of `roots` and all their descendants, in `parents` (pid to parent's pid). */
export function familyOf(roots: readonly number[], parents: ReadonlyMap<number, number>): number[] {
  const family = new Set(roots)
  for (let before = -1; before !== family.size; ) {
    before = family.size
    for (const [pid, parent] of parents) if (family.has(parent)) family.add(pid)
  }
  return [...family]
}

/** What these processes and all their descendants have used. A process that has just ended counts as nothing. */
export function usageOf(roots: readonly number[]): Usage {
  const stats = new Map<number, Stat>()
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : ''
    if (stat !== '') stats.set(Number(name), parseStat(stat))
  }
  const parents = new Map([...stats].map(([pid, { parent }]) => [pid, parent]))
  const usage: Usage = { processes: 0, cpuSeconds: 0, pssMib: 0, writtenBytes: 0 }
  for (const pid of familyOf(roots, parents)) {
    const stat = stats.get(pid)
    if (stat === undefined) continue
    usage.processes++
    usage.cpuSeconds += stat.cpuSeconds
    usage.pssMib += parseField(read(`/proc/${pid}/smaps_rollup`), 'Pss') / 1024
    usage.writtenBytes += parseField(read(`/proc/${pid}/io`), 'write_bytes')
  }
  return usage
}

/** The most memory that a process has had resident at once, in MiB. */
export function peakMibOf(pid: number): number {
  return parseField(read(`/proc/${pid}/status`), 'VmHWM') / 1024
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return '' // The process has ended.
  }
}
