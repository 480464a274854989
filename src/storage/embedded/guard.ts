/** Notices that an open file is no longer the one under its name, and says why a file cannot be written. */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { COARSE_TIME_MS } from '../../runtime/timings.ts'
import { DISK_HEADROOM_BYTES, RESERVE_BYTES } from '../limits.ts'

/** What is written to find out whether a file can be written. */
export const PROBE_BYTES = 64 * 1024

/** For files and directories that we make: texts are nobody else's to read. */
export const PRIVATE = { file: 0o600, directory: 0o700 }

/** A file, or its directory, was removed or replaced while it was open. */
export class Gone extends Error {}

/** How each message about such a file ends. */
export const REMEDY = 'while Mailroom runs: put it back, or restart Mailroom'

/** What tells a file from any other, as long as it is open; undefined when there is none under this name. */
export function identityOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat && `${stat.dev}:${stat.ino}`
}

interface Guarded {
  path: string
  identity: string | undefined
  /** Files of the data only grow, but for a write-ahead log that its writer gives back. */
  size: number
  glance: Glance | undefined
}

const TWO_BYTES = Buffer.alloc(2)

/**
 * A look at a file that does not ask for its times. Linux gives a file whose times were asked for new ones with the next
 * write, and the sync of that write has to write the file's inode, too. So `stat` beside each commit makes every sync a
 * half longer.
 */
class Glance {
  readonly #file: number
  /** Leads to the name that the open file has now. */
  readonly #link: string
  readonly #name: string

  private constructor(path: string) {
    this.#file = openSync(path, 'r')
    this.#link = `/proc/self/fd/${this.#file}`
    try {
      this.#name = readlinkSync(this.#link)
    } catch (error) {
      closeSync(this.#file)
      throw error
    }
  }

  /** Undefined where the kernel does not tell the names of open files, or no more can be opened. */
  static at(path: string): Glance | undefined {
    try {
      return new Glance(path)
    } catch {
      return undefined
    }
  }

  /** True when the file has its name and its size. False when that is to be looked into. */
  isUnchanged(size: number): boolean {
    // Of its last byte and the one behind it, only the first is there.
    const isSize = size > 0 && readSync(this.#file, TWO_BYTES, 0, 2, size - 1) === 1
    return isSize && readlinkSync(this.#link) === this.#name
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Files that must stay what they are. */
export class Guard {
  readonly #files: readonly Guarded[]

  /**
   * @param paths Files that are open now, or each with the identity that it must have.
   * @param synced One of them that is checked before each sync of it. The guard is to be closed then.
   */
  constructor(
    paths: readonly (string | readonly [path: string, identity: string | undefined])[],
    synced?: string,
  ) {
    this.#files = paths
      .map((path) => (typeof path === 'string' ? ([path, identityOf(path)] as const) : path))
      .map(([path, identity]) => ({
        ...{ path, identity, size: 0 },
        glance: path === synced ? Glance.at(path) : undefined,
      }))
  }

  /** It checks no more. */
  close(): void {
    for (const { glance } of this.#files) glance?.close()
  }

  /** @throws {Gone} Naming the first file that was removed, replaced or cut. What is written to it is lost. */
  check(): void {
    for (const file of this.#files) {
      const problem = this.#problemOf(file)
      if (problem !== undefined) throw new Gone(`${basename(file.path)} ${problem} ${REMEDY}`)
    }
  }

  /** Files may be shorter now. */
  forgetSizes(): void {
    for (const file of this.#files) file.size = 0
  }

  #problemOf(file: Guarded): string | undefined {
    try {
      if (file.glance?.isUnchanged(file.size)) return undefined
      const stat = statSync(file.path, { throwIfNoEntry: false })
      if (stat === undefined) return 'was removed'
      if (`${stat.dev}:${stat.ino}` !== file.identity) return 'was replaced'
      if (stat.isFile() && stat.size < file.size) return 'was cut'
      if (stat.isFile()) file.size = stat.size
      return undefined
    } catch (error) {
      return `became unreachable (${(error as NodeJS.ErrnoException).code})`
    }
  }
}

/** Tells whether a directory has changed: its names, its permissions, or that it is another one. Costs one `stat`. */
export class DirectoryVersion {
  readonly #path: string
  readonly #clock: Clock
  #seen = ''
  #seenAt = Number.NEGATIVE_INFINITY
  #isSettled = false
  #count = 0

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
  }

  /**
   * Another number after each change. For a moment after a change each call returns another one, because two changes
   * within a tick of the kernel's clock leave the directory with the same time.
   */
  read(): number {
    const now = this.#clock.monotonic()
    const seen = this.#stat()
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#seenAt = now
      this.#isSettled = false
    }
    if (!this.#isSettled) {
      this.#isSettled = now - this.#seenAt > COARSE_TIME_MS
      this.#count++
    }
    return this.#count
  }

  #stat(): string {
    try {
      const { dev, ino, ctimeMs } = statSync(this.#path)
      return `${dev}:${ino}:${ctimeMs}`
    } catch (error) {
      return (error as Error).message
    }
  }
}

/** The room that is left for this user; infinite where the file system does not tell. */
export function freeBytes(directory: string): number {
  try {
    const { blocks, bavail, bfree, bsize } = statfsSync(directory)
    if (blocks > 0) return (process.getuid?.() === 0 ? bfree : bavail) * bsize
  } catch {}
  return Number.POSITIVE_INFINITY
}

/** The name of the file that holds room (`reserve.ts`). */
export const RESERVE_NAME = 'reserve'

/**
 * True when so little is left that posts must be refused.
 *
 * @param headroom Bytes that must be free, beside those of a reserve that is not there.
 */
export function isFull(directory: string, headroom = DISK_HEADROOM_BYTES): boolean {
  const free = freeBytes(directory)
  if (free >= headroom + RESERVE_BYTES) return false
  return free < headroom || !existsSync(join(directory, RESERVE_NAME))
}

/** Why a file cannot be written, by the code of the operating system. */
const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the largest size of a file (ulimit -f) is reached',
  EROFS: 'the file system is read-only',
  EACCES: 'this user may not create files in the data directory',
  EPERM: 'this user may not create files in the data directory',
}

/** Finds out what is in the way of writing to a file: a code of the operating system, or undefined. */
function obstacleOf(path: string): string | undefined {
  const directory = dirname(path)
  if (isFull(directory)) return 'ENOSPC'
  if (isTooLarge(path)) return 'EFBIG'
  const scratch = `${path}.scratch`
  try {
    const file = openSync(scratch, 'w')
    try {
      writeSync(file, Buffer.alloc(PROBE_BYTES))
    } finally {
      closeSync(file)
      rmSync(scratch, { force: true })
    }
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

/** Why writing to a file was refused, human-readable. */
export function whyUnwritable(path: string, error: unknown): string {
  if (error instanceof Gone) return error.message
  const obstacle = obstacleOf(path)
  const { code = '' } = error as NodeJS.ErrnoException
  const words = REASONS[code] ?? `${basename(path)}: ${(error as Error).message}`
  return obstacle === undefined ? words : (REASONS[obstacle] ?? obstacle)
}

/** True when an open file may be written again, as far as can be told without writing to it. */
export function mayWrite(path: string): boolean {
  const code = obstacleOf(path)
  return code === undefined || code === 'EACCES' || code === 'EPERM' // An open file needs no new ones.
}

/** True when a file may not grow by `PROBE_BYTES` any more. */
function isTooLarge(path: string): boolean {
  try {
    const limit = /^Max file size +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    const size = Math.max(
      ...['', '-wal'].map((suffix) => statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0),
    )
    return limit !== undefined && size + PROBE_BYTES > Number(limit)
  } catch {
    return false
  }
}
