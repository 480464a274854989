/** A table of SQLite: every post is a transaction with an fdatasync, the consumer polls and deletes what it took. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Store, Take } from './service.ts'

const POLL_MS = 10
const BATCH = 1000

export async function openStore(directory: string): Promise<Store> {
  const insert = open(directory, 'FULL').prepare('INSERT INTO queue (text) VALUES (?)')
  return async (text) => insert.run(text)
}

export async function consume(directory: string, take: Take): Promise<void> {
  const database = open(directory, 'NORMAL') // A deletion lost in a power cut is a second delivery.
  const select = database.prepare('SELECT id, text FROM queue ORDER BY id LIMIT ?')
  const remove = database.prepare('DELETE FROM queue WHERE id <= ?')
  const turn = () => {
    const rows = select.all(BATCH) as { id: number; text: string }[]
    for (const { text } of rows) take(text)
    if (rows.length > 0) remove.run(rows.at(-1)!.id)
    setTimeout(turn, rows.length === BATCH ? 0 : POLL_MS)
  }
  turn()
}

function open(directory: string, synchronous: 'FULL' | 'NORMAL'): DatabaseSync {
  const database = new DatabaseSync(join(directory, 'queue.db'), { timeout: 10_000 })
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`)
  database.exec('CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)')
  return database
}
