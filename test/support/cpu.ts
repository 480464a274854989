/** The CPU time of a process on Linux. */
import { readFileSync } from 'node:fs'

/** Clock ticks of /proc/<pid>/stat in a second: Linux reports 100 to every program. */
const TICKS = 100

/** User and system time of a process so far, of all its threads. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number)
  return (utime! + stime!) / TICKS
}
