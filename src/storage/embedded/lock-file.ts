/** A lock that its process holds for life: however it ends, the lock is free again. */
import { DatabaseSync } from 'node:sqlite'
import { faultOf } from './sqlite.ts'

/** A held lock. */
export interface Lock {
  release(): void
}

/** Takes the lock of this path, or tells by `undefined` that somebody has it. Never waits. */
export function takeLock(path: string): Lock | undefined {
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (faultOf(error) === 'busy') return undefined
    throw error
  }
  return { release: () => database.close() }
}
