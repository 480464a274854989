/**
 * The data directory as a whole, which the primary holds for life: one Mailroom at a time. `primary.lock` is
 * locked and keeps what is settled once (format version, lanes); `node.json` says who has it, and which
 * workers are its own, so that a new start can end those that a dead primary left behind.
 */

import { execFileSync } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { DISK_PROBE_MS, ORPHAN_CHECK_MS, ORPHAN_WAIT_MS } from '../../runtime/timings.ts'
import { DEFAULT_LANES } from '../limits.ts'
import { Guard, identityOf, PRIVATE, whyUnwritable } from './guard.ts'
import { type Lock, takeLock } from './lock-file.ts'
import { lockDirectory } from './socket-lock.ts'
import { FORMAT_VERSION, isUnavailable } from './sqlite.ts'

/** Begins the argument by which a worker's command line says whose it is; the data directory follows. */
export const DATA_ARGUMENT = '--mailroom-data='

const NODE_FILE = 'node.json'
/** Files that Mailroom writes. */
const OUR_FILES =
  /^(primary|log-\d+|home-\d+)\.lock$|^((log|keys)-\d+\.\d+|home-\d+)\.db(-wal|-shm)?$|^((node|clock)\.json|reserve)(\.new)?$/

/** Who runs on a data directory. */
interface NodeRecord {
  pid: number
  url: string
  workers: readonly number[]
}

/** A data directory that is ours. */
export interface DataDirectory {
  /** What tells it from any other directory that gets its path; workers use no other. */
  identity: string | undefined
  laneCount: number
  /** Writes down who runs here; while that cannot be written, as soon as it can. Never throws. */
  record(node: NodeRecord): void
  /** Lets another start have it. */
  close(): void
}

/**
 * Takes a data directory, or begins one.
 *
 * @param options.lanes The number of lanes wanted; null for what it has, or 16.
 * @throws {MailroomError} `MR_DATA_LOCKED` naming who has it, `MR_DATA_VERSION`, `MR_CONFIG_INVALID` when it
 * cannot be used (naming each file that is not ours) or has another number of lanes.
 */
export async function openDataDirectory(
  data: string,
  { lanes, clock, logger }: { lanes: number | null; clock: Clock; logger: Logger },
): Promise<DataDirectory> {
  makeDirectory(data)
  refuseForeignFiles(data)
  const pinned = openSync(data, 'r') // As long as it is open, no other directory gets its inode.
  let recorded: NodeRecord | undefined
  const socketLock = await lockDirectory(data, clock, () => JSON.stringify(recorded ?? {}))
  if (typeof socketLock === 'string') throw dataLocked(data, parsedNode(socketLock))
  let lock: Lock | undefined
  try {
    const settled = lockPrimary(data, lanes)
    lock = settled.lock
    await endOrphans(data, clock, logger)
    const directory = new Guard([data])
    let isRecorded = true
    let lastProblem = ''
    /** Writes what is not written yet; notices what was removed. */
    const keep = () => {
      try {
        directory.check()
        lock!.keep()
        if (recorded !== undefined && !(isRecorded && existsSync(join(data, NODE_FILE)))) {
          writeNode(data, recorded)
          isRecorded = true
        }
        lastProblem = ''
      } catch (error) {
        const { message } = error as Error
        if (message !== lastProblem) logger.error({ err: error }, 'the data directory cannot be kept')
        lastProblem = message
      }
    }
    const cancel = clock.every(DISK_PROBE_MS, keep)
    return {
      identity: identityOf(data),
      laneCount: settled.laneCount,
      record(node) {
        recorded = node
        isRecorded = false
        keep()
      },
      close() {
        cancel()
        lock!.release()
        socketLock.release()
        closeSync(pinned)
      },
    }
  } catch (error) {
    lock?.release()
    socketLock.release()
    closeSync(pinned)
    throw error
  }
}

function makeDirectory(data: string): void {
  try {
    mkdirSync(data, { recursive: true, mode: PRIVATE.directory })
    accessSync(data, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw invalid([`Expected \`--data\` to be a directory that can be written, got ${whyNot(data, error)}`])
  }
}

/** @throws {MailroomError} `MR_CONFIG_INVALID` naming every file of the data that we may not read and write. */
function refuseForeignFiles(data: string): void {
  const problems = readdirSync(data)
    .filter((name) => OUR_FILES.test(name))
    .flatMap((name) => {
      const path = join(data, name)
      try {
        accessSync(path, constants.R_OK | constants.W_OK)
        return []
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [] // Removed by a node that runs here.
        return [`Expected ${path} to be a file that can be written, got ${whyNot(path, error)}`]
      }
    })
  if (problems.length > 0) throw invalid(problems)
}

/** Why a path cannot be used: the code, whose it is, and who we are. */
function whyNot(path: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  const stat = statSync(path, { throwIfNoEntry: false })
  const owner = stat && `, owned by uid ${stat.uid}, mode ${(stat.mode & 0o7777).toString(8)}`
  return `${code} for ${path}${owner ?? ''}; Mailroom runs as uid ${process.getuid?.()}`
}

function invalid(problems: string[]): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', { problems })
}

function dataLocked(data: string, node: NodeRecord | undefined): MailroomError {
  const holder = node === undefined ? 'another Mailroom' : `the Mailroom on ${node.url} (process ${node.pid})`
  return new MailroomError('MR_DATA_LOCKED', { path: data, holder })
}

/** Locks the directory and settles its lanes. */
function lockPrimary(data: string, lanes: number | null): { lock: Lock; laneCount: number } {
  let laneCount = 0
  const fill = (database: DatabaseSync): void => {
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
      throw invalid([`Expected \`--lanes\` to be ${known.lanes}, which ${data} was begun with, got ${lanes}`])
    }
    // A file that was removed while we run gets the lanes that we run with.
    laneCount ||= known?.lanes ?? lanes ?? DEFAULT_LANES
    if (known === undefined) database.prepare('INSERT INTO meta VALUES (?, ?)').run(FORMAT_VERSION, laneCount)
  }
  const path = join(data, 'primary.lock')
  let lock: Lock | undefined
  try {
    lock = takeLock(path, { fill })
  } catch (error) {
    if (!isUnavailable(error)) throw error
    throw invalid([`Expected ${path} to be a file that can be locked: ${whyUnwritable(path, error)}`])
  }
  if (lock === undefined) throw dataLocked(data, readNode(data))
  return { lock, laneCount }
}

/** Ends the workers of a primary that died without them. Nobody else has the locks, and no primary is their parent. */
async function endOrphans(data: string, clock: Clock, logger: Logger): Promise<void> {
  const node = readNode(data)
  const mine = (pid: number) => commandLineOf(pid).includes(DATA_ARGUMENT + data)
  const orphans = (node?.workers ?? []).filter(mine)
  if (orphans.some((pid) => parentOf(pid) === node!.pid)) throw dataLocked(data, node)
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

/** The parent of a process on Linux; undefined elsewhere. An orphan's is another than the one that forked it. */
function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
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
    return parsedNode(readFileSync(join(data, NODE_FILE), 'utf8'))
  } catch {
    return undefined
  }
}

function parsedNode(text: string): NodeRecord | undefined {
  try {
    const node = JSON.parse(text) as Partial<NodeRecord>
    return node.pid === undefined ? undefined : (node as NodeRecord)
  } catch {
    return undefined
  }
}

function writeNode(data: string, node: NodeRecord): void {
  const path = join(data, NODE_FILE)
  writeFileSync(`${path}.new`, `${JSON.stringify(node)}\n`, { mode: PRIVATE.file })
  renameSync(`${path}.new`, path)
}
