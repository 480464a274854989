/** Files that are removed, replaced or closed to a process that has them open. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock as clock } from '../../../src/runtime/clock.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { GroupCommit } from '../../../src/storage/embedded/group-commit.ts'
import { Gone, Guard } from '../../../src/storage/embedded/guard.ts'
import { takeLock } from '../../../src/storage/embedded/lock-file.ts'
import { lockDirectory } from '../../../src/storage/embedded/socket-lock.ts'
import {
  closeGuarded,
  createFile,
  faultOf,
  guardOf,
  openToWrite,
} from '../../../src/storage/embedded/sqlite.ts'

function directory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'files-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('a guard names a file that was removed, replaced, or whose directory was, and is content when it is back', (context) => {
  const at = directory(context)
  const inner = join(at, 'inner')
  const path = join(inner, 'file')
  mkdirSync(inner)
  writeFileSync(path, '')
  const guard = new Guard([path])
  guard.check()
  renameSync(path, `${path}2`)
  assert.throws(() => guard.check(), /^Error: file was removed/)
  writeFileSync(path, '')
  assert.throws(() => guard.check(), /^Error: file was replaced/)
  renameSync(`${path}2`, path)
  guard.check()
  writeFileSync(path, 'longer')
  guard.check()
  writeFileSync(path, 'long')
  assert.throws(() => guard.check(), /^Error: file was cut/)
  guard.forgetSizes()
  guard.check()
  renameSync(inner, join(at, 'other'))
  assert.throws(() => guard.check(), Gone)
  assert.equal(faultOf(new Gone('x')), 'gone')
})

test('a lock whose file was removed is taken anew; one that somebody else took meanwhile is lost', (context) => {
  const path = join(directory(context), 'x.lock')
  const lock = takeLock(path)!
  assert.equal(takeLock(path), undefined)
  rmSync(path)
  lock.keep()
  assert.equal(takeLock(path), undefined, 'it excludes again')
  rmSync(path)
  const other = takeLock(path)!
  assert.throws(() => lock.keep(), Gone)
  lock.release()
  other.keep()
  other.release()
})

test('the lock of a directory outlives its files and its name, and says who holds it', async (context) => {
  const path = join(directory(context), 'data')
  mkdirSync(path)
  const lock = await lockDirectory(path, clock, () => 'me')
  assert.ok(typeof lock !== 'string')
  renameSync(path, `${path}2`)
  mkdirSync(path)
  assert.equal(await lockDirectory(path, clock, () => 'you'), 'me')
  assert.equal(await lockDirectory(`${path}2`, clock, () => 'you'), 'me')
  lock.release()
  const next = await lockDirectory(path, clock, () => 'you')
  assert.ok(typeof next !== 'string')
  next.release()
})

test('a file that was replaced is not closed: the write-ahead log that has its name now stays', (context) => {
  const path = join(directory(context), 'log-1.1.db')
  createFile(path, 'CREATE TABLE log(seq INTEGER PRIMARY KEY)')
  const database = openToWrite(path, (open) => open.database)
  const guard = guardOf(path)
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(path + suffix)
    writeFileSync(path + suffix, 'of another')
  }
  closeGuarded(database, guard)
  assert.equal(readFileSync(`${path}-wal`, 'utf8'), 'of another')
  assert.ok(existsSync(`${path}-shm`))
})

test('a group commit: one transaction for all, a refusal is for its write only, a failure for all', async () => {
  let transactions = 0
  let failure: Error | undefined
  const transact = (work: () => void) => {
    transactions++
    work()
    if (failure !== undefined) throw failure
  }
  const commits = new GroupCommit({
    clock,
    transact,
    failed: (error) => new Error('failed', { cause: error }),
  })
  const refusal = new MailroomError('MR_NOT_FOUND', { what: 'it' })
  const settled = await Promise.allSettled([
    commits.run(() => 1),
    commits.run(() => refusal),
    commits.run(() => 3),
  ])
  assert.deepEqual(
    settled.map((result) => (result.status === 'fulfilled' ? result.value : result.reason)),
    [1, refusal, 3],
  )
  assert.equal(transactions, 1)
  failure = new Error('no room')
  await Promise.all(
    [1, 2].map(() =>
      assert.rejects(
        commits.run(() => 1),
        { message: 'failed', cause: failure },
      ),
    ),
  )
  assert.equal(transactions, 2)
  const closed = commits.run(() => 1)
  commits.close(new Error('closed'))
  await assert.rejects(closed, { message: 'closed' })
})
