/** The machine of a run: figures of two machines cannot be compared. */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { percentile, shown } from './figures.ts'

const SYNCS = 51
const PAGE_BYTES = 4096
/** File systems in memory: what is synced there is not durable. */
const IN_MEMORY = new Set(['tmpfs', 'ramfs'])

export interface Machine {
  processor: string
  cores: number
  memoryGib: number
  node: string
  /** Of the directory where all benches and all compared systems keep their data. */
  fileSystem: string
  /** Median of 51 times: 4 KiB are appended to a file there and synced. */
  fdatasyncMs: number
}

/** This machine. @throws {Error} When temporary files are kept in memory: TMPDIR names another directory. */
export function thisMachine(): Machine {
  const fileSystem = fileSystemOf(tmpdir(), readFileSync('/proc/mounts', 'utf8'))
  if (IN_MEMORY.has(fileSystem)) {
    throw new Error(`${tmpdir()} is kept in memory (${fileSystem}). Set TMPDIR to a directory on a disk.`)
  }
  return {
    processor: cpus()[0]?.model ?? 'unknown processor',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    fileSystem,
    fdatasyncMs: Number(fdatasyncMs().toFixed(3)),
  }
}

/** A machine in one line. */
export function shownMachine({
  processor,
  cores,
  memoryGib,
  node,
  fileSystem,
  fdatasyncMs,
}: Machine): string {
  const disk = `${fileSystem} with ${shown(fdatasyncMs, 2)} ms a sync`
  return `${processor} x ${cores}, ${memoryGib} GiB, ${disk}, Node ${node}`
}

/** The type of the file system that holds `directory`, from the text of /proc/mounts: the longest mount point counts. */
export function fileSystemOf(directory: string, mounts: string): string {
  let found = { point: '', type: 'unknown file system' }
  for (const line of mounts.split('\n')) {
    const [, point = '', type = ''] = line.split(' ')
    const holds = directory === point || directory.startsWith(point.endsWith('/') ? point : `${point}/`)
    if (point !== '' && holds && point.length >= found.point.length) found = { point, type }
  }
  return found.type
}

function fdatasyncMs(): number {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
  const file = openSync(join(directory, 'file'), 'w')
  const page = Buffer.alloc(PAGE_BYTES)
  const times = Array.from({ length: SYNCS }, () => {
    const beganAt = performance.now()
    writeSync(file, page)
    fdatasyncSync(file)
    return performance.now() - beganAt
  })
  closeSync(file)
  rmSync(directory, { recursive: true })
  return percentile(
    times.toSorted((a, b) => a - b),
    0.5,
  )
}
