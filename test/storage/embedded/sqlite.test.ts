/** What a killed writer left in a file is put on the disk before anybody reads it. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createFile, openToRead, openToWrite, transact } from '../../../src/storage/embedded/sqlite.ts'

/** A file with a transaction in its write-ahead log. */
function written(context: TestContext): string {
  const data = fs.mkdtempSync(join(tmpdir(), 'sqlite-'))
  const path = join(data, 'log-1.1.db')
  createFile(path, 'CREATE TABLE log(seq INTEGER PRIMARY KEY)')
  const database = openToWrite(path, (open) => open.database)
  database.exec('INSERT INTO log VALUES (1)')
  context.after(() => {
    database.close()
    fs.rmSync(data, { recursive: true })
  })
  return path
}

/** Paths that were synced, in their order. */
function watchSyncs(context: TestContext): string[] {
  const synced: string[] = []
  const paths = new Map<number, string>()
  const { openSync, fsyncSync } = fs
  context.mock.method(fs, 'openSync', (path: string, flags: string) => {
    const descriptor = openSync(path, flags)
    paths.set(descriptor, path)
    return descriptor
  })
  context.mock.method(fs, 'fsyncSync', (descriptor: number) => {
    synced.push(paths.get(descriptor)!)
    fsyncSync(descriptor)
  })
  syncBuiltinESMExports()
  context.after(() => syncBuiltinESMExports())
  return synced
}

for (const open of [openToRead, openToWrite]) {
  test(`${open.name} puts the write-ahead log on the disk before it reads`, (context) => {
    const path = written(context)
    const synced = watchSyncs(context)
    const syncedBefore = open(path, ({ database }) => {
      const before = [...synced]
      assert.equal(database.prepare('SELECT count(*) AS count FROM log').get()?.['count'], 1)
      database.close()
      return before
    })
    assert.deepEqual(syncedBefore, [`${path}-wal`])
  })
}

for (const open of [openToRead, openToWrite]) {
  test(`${open.name} names a write-ahead log that was removed while others have the file open`, (context) => {
    const path = written(context)
    fs.rmSync(`${path}-wal`)
    const words = 'log-1.1.db-wal was removed or cut while Mailroom runs: put it back, or restart Mailroom'
    assert.throws(() => open(path, ({ database }) => database.prepare('SELECT * FROM log').all()), {
      message: words,
    })
  })
}

test('a transaction is synced when it is to be durable, whatever the one before it was', (context) => {
  const database = openToWrite(written(context), (open) => open.database)
  context.after(() => database.close())
  const modes = [true, false, false, true, true, false, true].map((isDurable) =>
    transact(database, () => database.prepare('PRAGMA synchronous').get()?.['synchronous'], isDurable),
  )
  const [NORMAL, FULL] = [1, 2]
  assert.deepEqual(modes, [FULL, NORMAL, NORMAL, FULL, FULL, NORMAL, FULL])
})
