/** A lock that its process holds for life: however it ends, the lock is free again. */
import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Gone, Guard, identityOf } from './guard.ts'
import { faultOf, openPrivate } from './sqlite.ts'

/** A held lock. */
export interface Lock {
  /** Takes the lock anew when its file was removed. @throws {Gone} When somebody else has it now. */
  keep(): void
  release(): void
}

interface LockOptions {
  fill?: (database: DatabaseSync) => void
  directory?: string | undefined
}

/**
 * Takes the lock of this path. Never waits.
 *
 * @param options.fill Writes into a new file what it is to hold; called once the lock is held.
 * @param options.directory The identity that its directory must have; by default the one that it has.
 * @returns Undefined when somebody has it.
 * @throws When the lock could not exclude anybody: SQLite opens a file that it may not write, and locks nothing.
 */
export function takeLock(path: string, { fill, directory }: LockOptions = {}): Lock | undefined {
  const guard = new Guard([[dirname(path), directory ?? identityOf(dirname(path))]])
  guard.check()
  let database = locked(path, fill)
  if (database === undefined) return undefined
  let identity = identityOf(path)
  return {
    keep() {
      guard.check()
      if (identityOf(path) === identity) return
      const next = existsSync(path) ? undefined : locked(path, fill)
      if (next === undefined) throw new Gone(`${path} was replaced while Mailroom runs`)
      database?.close()
      database = next
      identity = identityOf(path)
    },
    release: () => database?.close(),
  }
}

function locked(path: string, fill: LockOptions['fill']): DatabaseSync | undefined {
  const database = openPrivate(path)
  try {
    accessSync(path, constants.W_OK)
    // Without `fill` nothing is written: neither is a journal, for which there may be no room.
    if (fill === undefined) database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    if (fill !== undefined) {
      fill(database)
      database.exec('COMMIT') // In this locking mode the lock stays until the file is closed.
    }
    return database
  } catch (error) {
    database.close()
    if (faultOf(error) === 'busy') return undefined
    throw error
  }
}
