/** Files that are removed, replaced or closed to a process that has them open. */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import fs, {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock as clock, systemRandom as random } from '../../../src/runtime/clock.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { COARSE_TIME_MS } from '../../../src/runtime/timings.ts'
import { GroupCommit } from '../../../src/storage/embedded/group-commit.ts'
import { DirectoryVersion, Gone, Guard } from '../../../src/storage/embedded/guard.ts'
import { Home } from '../../../src/storage/embedded/home.ts'
import { takeLock } from '../../../src/storage/embedded/lock-file.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { lockDirectory } from '../../../src/storage/embedded/socket-lock.ts'
import {
  closeGuarded,
  createFile,
  faultOf,
  guardOf,
  openToWrite,
} from '../../../src/storage/embedded/sqlite.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { Backend } from '../../../src/storage/ports.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function directory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'files-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

for (const isSynced of [false, true]) {
  const what = isSynced ? 'a file that is synced often' : 'a file'
  test(`a guard names ${what} that was removed, replaced, or whose directory was, and is content when it is back`, (context) => {
    const at = directory(context)
    const inner = join(at, 'inner')
    const path = join(inner, 'file')
    mkdirSync(inner)
    writeFileSync(path, 'x')
    const guard = new Guard([path], isSynced ? path : undefined)
    context.after(() => guard.close())
    guard.check()
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
}

test('a guard does not ask for the times of a file that is synced often, while it has its name and its size', (context) => {
  const path = join(directory(context), 'file')
  writeFileSync(path, 'as it was')
  const guard = new Guard([path], path)
  context.after(() => guard.close())
  const asked = context.mock.method(fs, 'statSync').mock
  syncBuiltinESMExports()
  context.after(() => syncBuiltinESMExports())
  for (let checks = 0; checks < 100; checks++) guard.check()
  assert.equal(asked.callCount(), 1)
  appendFileSync(path, ', and more')
  for (let checks = 0; checks < 100; checks++) guard.check()
  assert.equal(asked.callCount(), 2)
})

test('the version of a directory changes with its names, and for a moment after each change; then it stays', async (context) => {
  const path = directory(context)
  const fake = new FakeClock()
  const version = new DirectoryVersion(path, fake)
  const settled = async () => {
    version.read()
    await fake.advance(2 * COARSE_TIME_MS)
    version.read()
    return version.read()
  }
  const changes: (() => void)[] = [
    () => writeFileSync(join(path, 'new'), ''),
    () => rmSync(join(path, 'new')),
    () => renameSync(path, `${path}-aside`),
    () => mkdirSync(path),
  ]
  for (const change of changes) {
    const before = await settled()
    change()
    const [first, second] = [version.read(), version.read()]
    assert.ok(before < first && first < second, 'two changes in one tick of the clock are told apart')
  }
  rmSync(`${path}-aside`, { recursive: true })
  writeFileSync(join(path, 'kept'), '')
  const before = await settled()
  writeFileSync(join(path, 'kept'), 'longer')
  assert.equal(await settled(), before)
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

test('the write-ahead log of a home that was removed is kept, and is no part of the home that replaces it', async (context) => {
  const path = join(directory(context), 'home-0.db')
  const removed = new Home(path, clock, 1e9)
  context.after(() => removed.close())
  await removed.commit(() => removed.moveCursor('file', 7))
  rmSync(path)
  const home = new Home(path, clock, 1e9)
  context.after(() => home.close())
  assert.deepEqual([...home.cursors()], [])
  await home.commit(() => home.moveCursor('file', 1))
  assert.deepEqual([...home.cursors()], [['file', 1]])
  const names = readdirSync(dirname(path)).filter((name) => name.includes('.damaged-'))
  assert.deepEqual(names.map((name) => name.slice(-4)).sort(), ['-shm', '-wal'])
})

const TEXT = 'x'.repeat(500)

function opened(context: TestContext, data: string, writer?: number): Backend {
  const options = { data, laneCount: 1, clock, random, logger: createLogger('silent', {}), retentionMs: 1e9 }
  const backend = openEmbedded({ ...options, ...(writer !== undefined && { writer }) })
  context.after(() => backend.close())
  return backend
}

async function append(
  { log }: Backend,
  nextIds: (count: number) => string[],
  count: number,
): Promise<string[]> {
  const ids = nextIds(count)
  const messages = ids.map((id) => ({ id, text: TEXT }))
  await log.append({ messages, lane: 0, deadlineAt: clock.monotonic() + 3000 })
  return ids
}

async function deliver({ queue }: Backend): Promise<string[]> {
  const ids = (await queue.claim(0, 100, 0)).map(({ id }) => id)
  await queue.settle(
    0,
    ids.map((id) => ({ id, as: 'done' })),
  )
  return ids
}

test('what is logged after a write-ahead log was lost is delivered: no row has the number of one that was lost', async (context) => {
  const data = directory(context)
  const nextIds = idGenerator(clock, random)
  const path = join(data, 'log-1.1.db')
  for (const backend of [opened(context, data, 1), opened(context, data)]) await backend.close()
  const whole = [opened(context, data, 1), opened(context, data)] as const
  const file = readFileSync(path)
  await whole[1].queue.hold(0)
  await append(whole[0], nextIds, 20)
  assert.equal((await deliver(whole[1])).length, 20)
  await append(whole[0], nextIds, 1) // Saves the cursor.
  await deliver(whole[1])
  for (const backend of whole) await backend.close()
  writeFileSync(path, file)
  const [logging, messages] = [opened(context, data, 1), opened(context, data)]
  const ids = await append(logging, nextIds, 10)
  await messages.queue.hold(0)
  assert.deepEqual(await deliver(messages), ids)
})

test('a reader whose write-ahead log and index were removed sees what the next writer commits', async (context) => {
  const data = directory(context)
  const child = new URL('../../support/store-child.ts', import.meta.url).pathname
  /** Writes until it has told an id, and is killed. */
  const write = async () => {
    const process = fork(child, ['append', data, '1'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    const [ids] = (await once(process.stdout!.setEncoding('utf8'), 'data')) as [string]
    process.kill('SIGKILL')
    await once(process, 'exit')
    return ids.split('\n')[0]!
  }
  const before = await write()
  const reader = opened(context, data)
  const shown = async () => (await reader.log.page({ limit: 10_000 })).map(({ id }) => id)
  assert.ok((await shown()).includes(before))
  for (const suffix of ['-wal', '-shm']) rmSync(join(data, `log-1.1.db${suffix}`))
  const after = await write()
  const endAt = clock.monotonic() + 5000
  while (!(await shown()).includes(after)) {
    assert.ok(clock.monotonic() < endAt, 'it is shown within 5 s')
    await clock.sleep(50)
  }
  assert.match(reader.damaged().join(), /^log-1\.1\.db: its write-ahead log was removed/)
})

test('a pause whose file cannot be seen is not over', async (context) => {
  const at = directory(context)
  const data = join(at, 'data')
  mkdirSync(data)
  const logger = createLogger('silent', {})
  const backend = openEmbedded({ data, laneCount: 1, clock, random, logger, retentionMs: 3_600_000 })
  context.after(() => backend.close())
  await backend.queue.setPaused(true)
  renameSync(data, `${data}-away`)
  await assert.rejects(backend.queue.isPaused(), { code: 'MR_STORE_UNAVAILABLE' })
  renameSync(`${data}-away`, data)
  assert.equal(await backend.queue.isPaused(), true)
  await backend.queue.setPaused(false)
  assert.equal(await backend.queue.isPaused(), false)
})
