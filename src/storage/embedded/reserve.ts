/**
 * The reserve: a file that holds 16 MiB of the disk while others fill it. It is given up when nearly nothing is free: homes
 * can record outcomes then, write-ahead logs can be moved into their files, and what has expired goes. Until it is there
 * again its room counts as taken (`isFull`), so posts and starts do not use it up.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RESERVE_BYTES } from '../limits.ts'
import { freeBytes, type Guard, isFull, PRIVATE, RESERVE_NAME } from './guard.ts'

/** It is given up when less is free. */
const LAST_BYTES = RESERVE_BYTES / 4
const PIECE_BYTES = 1024 * 1024

/** Makes the reserve again once there is room for it beside `headroom`, unless it is there. @param guard Of its directory. */
export async function keepReserve(directory: string, headroom: number, guard: Guard): Promise<void> {
  const path = join(directory, RESERVE_NAME)
  if (existsSync(path) || isFull(directory, headroom)) return
  guard.check()
  const unfinished = `${path}.new`
  try {
    const file = await open(unfinished, 'w', PRIVATE.file)
    try {
      // What compresses to nothing would hold no room.
      const piece = randomBytes(PIECE_BYTES)
      for (let bytes = 0; bytes < RESERVE_BYTES; bytes += PIECE_BYTES) await file.write(piece)
    } finally {
      await file.close()
    }
    guard.check()
    await rename(unfinished, path)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

/** Gives the reserve up when nearly nothing is free. */
export function spendReserve(directory: string): void {
  if (freeBytes(directory) < LAST_BYTES) rmSync(join(directory, RESERVE_NAME), { force: true })
}
