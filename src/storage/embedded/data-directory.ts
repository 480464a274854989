/**
 * The data directory as a whole, which the primary holds for life: one Mailroom at a time. `primary.lock` is
 * locked and keeps what is settled once (format version, lanes); `node.json` says who has it, and which
 * workers are its own, so that a new start can end those that a dead primary left behind.
 */

import { execFileSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { DISK_PROBE_MS, ORPHAN_CHECK_MS, ORPHAN_WAIT_MS } from '../../runtime/timings.ts'
import { DEFAULT_LANES } from '../limits.ts'
import { FORMAT_VERSION, faultOf } from './sqlite.ts'

/** Begins the argument by which a worker's command line says whose it is; the data directory follows. */
export const DATA_ARGUMENT = '--mailroom-data='

/** Who runs on a data directory. */
interface NodeRecord {
  pid: number
  url: string
  workers: readonly number[]
}

/** A data directory that is ours. */
export interface DataDirectory {
  laneCount: number
  /** Writes down who runs here; while the disk is full, as soon as there is room. */
  record(node: NodeRecord): void
  /** Lets another start have it. */
  close(): void
}

/**
 * Takes a data directory, or begins one.
 *
 * @param options.lanes The number of lanes wanted; null for what it has, or 16.
 * @throws {MailroomError} `MR_DATA_LOCKED` naming who has it, `MR_DATA_VERSION`, `MR_CONFIG_INVALID` when it
 * cannot be used or has another number of lanes.
 */
export async function openDataDirectory(
  data: string,
  { lanes, clock, logger }: { lanes: number | null; clock: Clock; logger: Logger },
): Promise<DataDirectory> {
  makeDirectory(data)
  const database = new DatabaseSync(join(data, 'primary.lock'))
  try {
    const laneCount = settle(database, data, lanes)
    await endOrphans(data, clock, logger)
    let cancelRetry = () => {}
    const record = (node: NodeRecord): void => {
      cancelRetry()
      try {
        writeNode(data, node)
      } catch {
        cancelRetry = clock.after(DISK_PROBE_MS, () => record(node))
      }
    }
    return {
      laneCount,
      record,
      close() {
        cancelRetry()
        database.close()
      },
    }
  } catch (error) {
    database.close()
    throw error
  }
}

function makeDirectory(data: string): void {
  try {
    mkdirSync(data, { recursive: true })
    accessSync(data, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const problem = `Expected \`--data\` to be a directory that can be written, got ${code} for ${data}`
    throw new MailroomError('MR_CONFIG_INVALID', { problems: [problem] }, { cause: error })
  }
}

/** Locks the directory and settles its lanes. */
function settle(database: DatabaseSync, data: string, lanes: number | null): number {
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    if (faultOf(error) !== 'busy') throw error
    const node = readNode(data)
    const holder =
      node === undefined ? 'another Mailroom' : `the Mailroom on ${node.url} (process ${node.pid})`
    throw new MailroomError('MR_DATA_LOCKED', { path: data, holder }, { cause: error })
  }
  database.exec('CREATE TABLE IF NOT EXISTS meta(version INTEGER NOT NULL, lanes INTEGER NOT NULL)')
  const known = database.prepare('SELECT version, lanes FROM meta').get() as
    | { version: number; lanes: number }
    | undefined
  if (known !== undefined && known.version !== FORMAT_VERSION) {
    const facts = {
      path: data,
      expected: `of format version ${FORMAT_VERSION}`,
      got: `version ${known.version}`,
    }
    throw new MailroomError('MR_DATA_VERSION', facts)
  }
  if (known !== undefined && lanes !== null && lanes !== known.lanes) {
    const problem = `Expected \`--lanes\` to be ${known.lanes}, which ${data} was begun with, got ${lanes}`
    throw new MailroomError('MR_CONFIG_INVALID', { problems: [problem] })
  }
  const laneCount = known?.lanes ?? lanes ?? DEFAULT_LANES
  if (known === undefined) database.prepare('INSERT INTO meta VALUES (?, ?)').run(FORMAT_VERSION, laneCount)
  database.exec('COMMIT') // In this locking mode the lock stays until the file is closed.
  return laneCount
}

/** Ends the workers of a primary that died without them. */
async function endOrphans(data: string, clock: Clock, logger: Logger): Promise<void> {
  const mine = (pid: number) => commandLineOf(pid).includes(DATA_ARGUMENT + data)
  const orphans = (readNode(data)?.workers ?? []).filter(mine)
  for (const pid of orphans) {
    logger.warn({ worker: pid }, 'ending a worker whose primary died')
    process.kill(pid, 'SIGKILL')
  }
  const endAt = clock.monotonic() + ORPHAN_WAIT_MS
  while (orphans.some(mine)) {
    if (clock.monotonic() > endAt) {
      const holder = `a worker that does not end (process ${orphans.filter(mine).join(', ')})`
      throw new MailroomError('MR_DATA_LOCKED', { path: data, holder })
    }
    await clock.sleep(ORPHAN_CHECK_MS)
  }
}

/** A process's arguments; none when there is no such process. */
function commandLineOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    if (process.platform === 'linux') return []
  }
  try {
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(' ')
  } catch {
    return []
  }
}

function readNode(data: string): NodeRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(data, 'node.json'), 'utf8')) as NodeRecord
  } catch {
    return undefined
  }
}

function writeNode(data: string, node: NodeRecord): void {
  const path = join(data, 'node.json')
  writeFileSync(`${path}.new`, `${JSON.stringify(node)}\n`)
  renameSync(`${path}.new`, path)
}
