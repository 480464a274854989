/**
 * The reserve: a file that holds 16 MiB of the disk while others fill it. It is given up when nearly nothing is free: homes
 * can record outcomes then, write-ahead logs can be moved into their files, and what has expired goes. Until it is there
 * again its room counts as taken (`isFull`), so posts and starts do not use it up.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { HOUSEKEEPING_MS } from '../../runtime/timings.ts'
import { RESERVE_BYTES } from '../limits.ts'
import { freeBytes, Guard, identityOf, isFull, PRIVATE, RESERVE_NAME } from './guard.ts'

/** It is given up when less is free. */
const LAST_BYTES = RESERVE_BYTES / 4
const PIECE_BYTES = 1024 * 1024

/** Makes the reserve of a directory, and makes it again. */
export class Reserve {
  readonly #directory: string
  readonly #headroom: number
  readonly #clock: Clock
  readonly #guard: Guard
  /** One that cannot be made (a limit of the size of files) is not tried all the time: each try writes. */
  #tryAt = 0

  /** @param headroom Bytes that must be free beside it. @param identity As `EmbeddedOptions.dataIdentity`. */
  constructor(directory: string, headroom: number, clock: Clock, identity = identityOf(directory)) {
    this.#directory = directory
    this.#headroom = headroom
    this.#clock = clock
    this.#guard = new Guard([[directory, identity]])
  }

  /** Makes it once there is room for it, unless it is there. @throws As the file system does, once in `HOUSEKEEPING_MS`. */
  async keep(): Promise<void> {
    const path = join(this.#directory, RESERVE_NAME)
    if (existsSync(path)) return
    const unfinished = `${path}.new`
    // One whose writer was killed, or whose directory was away meanwhile, holds room that nobody has.
    await rm(unfinished, { force: true })
    if (isFull(this.#directory, this.#headroom)) return
    if (this.#clock.monotonic() < this.#tryAt) return
    this.#tryAt = this.#clock.monotonic() + HOUSEKEEPING_MS
    this.#guard.check()
    try {
      await writePieces(unfinished)
      this.#guard.check()
      await rename(unfinished, path)
      this.#tryAt = 0
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
  }
}

async function writePieces(path: string): Promise<void> {
  const file = await open(path, 'w', PRIVATE.file)
  try {
    // What compresses to nothing would hold no room.
    const piece = randomBytes(PIECE_BYTES)
    for (let bytes = 0; bytes < RESERVE_BYTES; bytes += PIECE_BYTES) await file.write(piece)
  } finally {
    await file.close()
  }
}

/** Gives the reserve up when nearly nothing is free. */
export function spendReserve(directory: string): void {
  if (freeBytes(directory) < LAST_BYTES) rmSync(join(directory, RESERVE_NAME), { force: true })
}
