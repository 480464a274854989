/** The disk and the files under a running node, as they fail in the world: nothing acknowledged is lost, nobody exits. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { HOME_SYNC_MS } from '../../src/runtime/timings.ts'
import { Contention } from '../support/contention.ts'
import type { Item } from '../support/running-system.ts'
import { fill, readOnlyDisk, smallDisk } from '../support/small-disk.ts'
import { isAlive, System } from '../support/system.ts'

const SMALL = ['--logging', '2', '--messages', '1', '--lanes', '2']
/** Somebody who is not root. */
const NOBODY = 65534
const AS_NOBODY = ['setpriv', '--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups']
const BIG = 'x'.repeat(60_000)
const WALL_CLOCK = new URL('../support/wall-clock-child.ts', import.meta.url).pathname

async function post(system: System, text: string) {
  const response = await fetch(`${system.url}/messages`, {
    ...{ method: 'POST', body: text, headers: { 'content-type': 'text/plain' } },
  })
  return {
    status: response.status,
    ...((await response.json()) as { id: string; outcome?: string; code?: string }),
  }
}

/** Posts until one is refused. @returns The refusal. */
async function postUntilRefused(system: System, text: string) {
  let last: Awaited<ReturnType<typeof post>> | undefined
  await system.until('a post is refused', async () => {
    last = await post(system, text)
    return last.status !== 201
  })
  assert.deepEqual([last!.status, last!.code], [503, 'MR_STORE_UNAVAILABLE'])
  return last!
}

/** Starts a node and waits for all its actors. */
async function started(...args: Parameters<typeof System.start>): Promise<System> {
  const system = await System.start(...args)
  await allReady(system)
  return system
}

test('nobody else may read what a node writes, whatever the umask', async (context) => {
  const formerMask = process.umask(0)
  context.after(() => process.umask(formerMask))
  const parent = mkdtempSync(join(tmpdir(), 'mailroom-'))
  context.after(() => rmSync(parent, { recursive: true }))
  const data = join(parent, 'deeper', 'data')
  const system = await started(context, SMALL, { data })
  const { id } = await post(system, 'private')
  await system.until('it is delivered', async () => {
    return (await system.get<{ state: string }>(`/messages/${id}`)).state === 'delivered'
  })
  assert.equal(statSync(data).mode & 0o777, 0o700)
  const modes = readdirSync(data).map((name) => [name, statSync(join(data, name)).mode & 0o777])
  assert.ok(modes.some(([name]) => String(name).endsWith('-wal')))
  assert.deepEqual(
    modes.filter(([, mode]) => mode !== 0o600),
    [],
  )
})

async function allReady(system: System): Promise<void> {
  await system.until('all actors are ready', async () =>
    (await system.actors()).every(({ state }) => state === 'ready'),
  )
}

/** Waits until `holds`, and asserts that it was so within `ms` of a machine that has nothing else to do. */
async function within(
  context: TestContext,
  system: System,
  ms: number,
  what: string,
  holds: () => Promise<boolean>,
) {
  const contention = new Contention(context)
  const since = performance.now()
  await system.until(what, holds)
  const tookMs = performance.now() - since
  assert.ok(tookMs <= contention.allow(ms), `${what} took ${Math.round(tookMs)} ms`)
}

/** What `/readyz` names. */
async function named(system: System): Promise<string> {
  const {
    missing,
    degraded = [],
    damaged = [],
  } = (await (await fetch(`${system.url}/readyz`)).json()) as Record<string, string[]>
  return [...missing!, ...degraded, ...damaged].join('\n')
}

async function untilNamed(system: System, pattern: RegExp): Promise<void> {
  await system.until(`/readyz names ${pattern}`, async () => pattern.test(await named(system)))
}

async function pidsOf(system: System): Promise<number[]> {
  return (await system.actors()).map(({ pid }) => pid)
}

async function logOf(system: System): Promise<string[]> {
  return (await system.get<{ items: Item[] }>('/log?limit=1000')).items.map(({ id }) => id)
}

async function drains(system: System): Promise<void> {
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null], system.output.slice(-2000))
}

/** A second start on the same data is refused and touches nothing. */
async function assertSecondStartRefused(system: System): Promise<void> {
  const first = system.primary
  const pids = await pidsOf(system)
  system.spawn()
  const [code] = await system.exited
  assert.equal(code, 1)
  assert.match(
    system.output,
    new RegExp(`in use by the Mailroom on ${system.url} \\(process ${first.pid}\\)`),
  )
  assert.deepEqual(
    pids.filter((pid) => !isAlive(pid)),
    [],
  )
  system.primary = first
  system.exited = once(first, 'exit') as never
}

const inData = (system: System, pattern: RegExp) =>
  readdirSync(system.data)
    .filter((name) => pattern.test(name))
    .map((name) => join(system.data, name))

/** Removes files of a running node, and waits until that is named; `status`: 503 when no logging actor takes posts. */
async function remove(
  context: TestContext,
  system: System,
  pattern: RegExp,
  words: RegExp,
  status = 503,
): Promise<void> {
  for (const path of inData(system, pattern)) rmSync(path)
  await within(context, system, 2000, `/readyz names ${words}`, async () => words.test(await named(system)))
  const answered = async () => (await fetch(`${system.url}/readyz`)).status === status
  await within(context, system, 2000, `/readyz answers ${status}`, answered)
}

async function assertPostsRefused(system: System): Promise<void> {
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => post(system, `refused ${n}`)))
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [503])
}

test('all files removed under a running node: named within 2 s, no post is acknowledged, a second start is refused', async (context) => {
  const system = await started(context, SMALL)
  await post(system, 'before')
  await remove(context, system, /./, /log-1\.1\.db was removed/)
  await assertPostsRefused(system)
  await assertSecondStartRefused(system)
  await drains(system)
  await system.begin()
  assert.equal((await post(system, 'well again')).status, 201)
})

test('a home, a log file, write-ahead logs removed under a running node: named, what is acknowledged is there after a restart', async (context) => {
  const system = await started(context, SMALL)
  await remove(context, system, /^home-1\.db/, /messages-1: home-1\.db was removed/, 200)
  await remove(context, system, /^log-2\.1\.db/, /logging-2: log-2\.1\.db was removed/, 200)
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => post(system, `after ${n}`)))
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [201], 'logging-1 takes all')
  await drains(system)
  await system.begin()
  await allReady(system)
  const logged = await logOf(system)
  assert.ok(answers.every(({ id }) => logged.includes(id)))
  for (let n = 0; n < 10; n++) await post(system, `again ${n}`)
  await remove(context, system, /-wal$/, /logging-1: log-1\.1\.db-wal was removed/)
  await assertPostsRefused(system)
  // Their successors find an index, which readers hold open, of a write-ahead log that is not there.
  for (const name of ['logging-1', 'logging-2', 'messages-1']) {
    const { pid } = await system.actor(name)
    process.kill(pid, 'SIGKILL')
    await system.until(`${name} has started again`, async () => {
      const actor = await system.actor(name)
      assert.notEqual(actor.state, 'failed')
      return actor.pid !== pid && actor.state === 'ready'
    })
  }
  const later = await Promise.all(Array.from({ length: 10 }, (_, n) => post(system, `later ${n}`)))
  await drains(system)
  await system.begin()
  await allReady(system)
  const afterwards = await logOf(system)
  assert.ok(later.every(({ status, id }) => (status === 201 ? afterwards.includes(id) : status === 503)))
  assert.equal((await post(system, 'well again')).status, 201)
})

test('the data directory replaced under a running node: named, nothing in the new one is touched; put back, posts are taken', async (context) => {
  const system = await started(context, SMALL)
  const before = await post(system, 'before')
  const aside = `${system.data}-aside`
  context.after(() => rmSync(aside, { recursive: true, force: true }))
  renameSync(system.data, aside)
  mkdirSync(system.data)
  const other = ['log-1.1.db', 'log-1.1.db-wal', 'home-0.db-wal', 'node.json', 'primary.lock']
  for (const name of other) writeFileSync(join(system.data, name), name)
  await postUntilRefused(system, 'nowhere')
  await untilNamed(system, /was replaced/)
  await assertSecondStartRefused(system)
  renameSync(system.data, `${aside}-2`)
  context.after(() => rmSync(`${aside}-2`, { recursive: true, force: true }))
  renameSync(aside, system.data)
  await system.ready()
  const after = await post(system, 'after')
  assert.equal(after.status, 201)
  renameSync(system.data, aside)
  renameSync(`${aside}-2`, system.data)
  await drains(system)
  assert.deepEqual(readdirSync(system.data).sort(), other.sort(), 'nothing was removed or added')
  rmSync(system.data, { recursive: true })
  renameSync(aside, system.data)
  await system.begin()
  const logged = await logOf(system)
  assert.ok(logged.includes(before.id) && logged.includes(after.id))
})

test('lock files and node.json removed under a running node: they are written again, the lock holds', async (context) => {
  const system = await started(context, SMALL)
  const gone = inData(system, /\.lock$|^node\.json$/)
  for (const path of gone) rmSync(path)
  await system.until('they are there again', async () => gone.every((path) => existsSync(path)))
  await assertSecondStartRefused(system)
  assert.equal((await post(system, 'after')).status, 201)
  await drains(system)
  await system.begin(SMALL.slice(0, 4))
  assert.equal((await fetch(`${system.url}/readyz`)).status, 200, 'with the lanes it was begun with')
})

test('a limit of the size of files: refused as on a full disk, reads go on, nobody exits, all is there afterwards', async (context) => {
  const system = await started(context, SMALL, { wrap: ['prlimit', '--fsize=1000000'] })
  const pids = await pidsOf(system)
  const ids: string[] = []
  let refusal: Awaited<ReturnType<typeof post>> | undefined
  await system.until('a post is refused', async () => {
    const answer = await post(system, BIG)
    if (answer.status === 201) ids.push(answer.id)
    else refusal = answer
    return refusal !== undefined
  })
  assert.deepEqual([refusal!.status, refusal!.outcome], [503, 'none'])
  await untilNamed(system, /ulimit -f/)
  const isWhole = (logged: string[]) => ids.every((id) => logged.includes(id))
  assert.ok(isWhole(await logOf(system)))
  assert.deepEqual(await pidsOf(system), pids)
  await drains(system)
  const again = await started(context, SMALL, { data: system.data })
  assert.ok(isWhole(await logOf(again)))
  assert.equal((await post(again, BIG)).status, 201)
})

test('a file system that goes read-only: 503, reads go on, drain works, a killed worker is replaced; the primary outlives it', async (context) => {
  const disk = readOnlyDisk(context, 100)
  if (disk === undefined) return
  const system = await started(context, SMALL, { data: join(disk.path, 'data') })
  const { id } = await post(system, 'before')
  await system.get(`/messages/${id}?wait=5`)
  // Until it is synced. A file system that fails before that ends the lane's holder once: it may have lost the list's end.
  await sleep(2 * HOME_SYNC_MS)
  disk.goReadOnly()
  const refusal = await postUntilRefused(system, 'after')
  assert.equal(refusal.outcome, 'none')
  await untilNamed(system, /read-only/)
  for (const name of ['logging-1', 'messages-1']) {
    const { pid } = await system.actor(name)
    process.kill(pid, 'SIGKILL')
    await system.until(`${name} has another process`, async () => {
      const actor = await system.actor(name)
      return actor.pid !== pid && actor.state === 'ready'
    })
  }
  assert.deepEqual(await logOf(system), [id])
  assert.equal((await post(system, 'still')).status, 503)
  const restarts = (await system.actors()).map((actor) => actor.restarts)
  assert.ok(
    restarts.every((count) => count <= 1),
    `no crash loop: ${restarts}`,
  )
  await drains(system)
})

test('a data directory that may not be written any more (chmod 555): nobody exits, drain works, posts are taken when it may', async (context) => {
  const parent = smallDisk(context, 100)
  if (parent === undefined) return
  const data = join(parent, 'data')
  mkdirSync(data)
  chownSync(data, NOBODY, NOBODY)
  const system = await started(context, SMALL, { data, wrap: AS_NOBODY })
  const first = await post(system, 'before')
  chmodSync(data, 0o555)
  const { pid } = await system.actor('logging-2')
  process.kill(pid, 'SIGKILL')
  await system.until('it has another process', async () => (await system.actor('logging-2')).pid !== pid)
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => post(system, `after ${n}`)))
  assert.deepEqual(
    answers.filter(({ status }) => status !== 201 && status !== 503),
    [],
  )
  assert.ok((await logOf(system)).includes(first.id))
  assert.equal((await fetch(`${system.url}/livez`)).status, 200)
  chmodSync(data, 0o755)
  await system.ready()
  await drains(system)
  await system.begin()
  const logged = await logOf(system)
  assert.deepEqual(
    [first, ...answers].filter(({ status, id }) => status === 201 && !logged.includes(id)),
    [],
  )
})

test('a start on a disk that a foreign file has filled: it starts, reads work, readyz says why; posts are taken once there is room', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const system = await started(context, SMALL, { data: join(disk, 'data') })
  const { id } = await post(system, 'before')
  await system.get(`/messages/${id}?wait=5`)
  await drains(system)
  const filling = join(disk, 'filling')
  fill(filling)
  system.spawn()
  await untilNamed(system, /the disk is full/)
  const pids = await pidsOf(system)
  assert.equal((await post(system, 'after')).status, 503)
  assert.deepEqual(await logOf(system), [id])
  assert.equal((await system.get<{ state: string }>(`/messages/${id}`)).state, 'delivered')
  const { delivered, partial } = await system.get<{ delivered: Item[]; partial: string[] }>('/messages')
  assert.deepEqual([delivered.map((item) => item.id), partial], [[id], []])
  rmSync(filling)
  await within(
    context,
    system,
    5000,
    'a post is taken',
    async () => (await post(system, 'room')).status === 201,
  )
  await system.ready()
  assert.deepEqual(await pidsOf(system), pids)
})

test('a disk filled by its own texts and write-ahead logs: what has expired is removed, posts are taken again; both lists hide it at once', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const clock = join(disk, 'clock')
  writeFileSync(clock, '0')
  const system = await started(context, [...SMALL, '--retention', '1m'], {
    data: join(disk, 'data'),
    env: { NODE_OPTIONS: `--import=${WALL_CLOCK}`, WALL_CLOCK_OFFSET: clock, TIME_PASSES: '' },
  })
  const body = JSON.stringify(Array.from({ length: 16 }, () => ({ text: BIG })))
  await system.until('the disk is full', async () => {
    const headers = { 'content-type': 'application/json' }
    return (await fetch(`${system.url}/messages`, { method: 'POST', body, headers })).status === 503
  })
  await untilNamed(system, /the disk is full/)
  const lists = () => system.get<{ logged: Item[]; delivered: Item[] }>('/messages')
  const logged = await logOf(system)
  await system.until('all is delivered', async () => (await lists()).delivered.length >= logged.length)
  const pids = await pidsOf(system)
  writeFileSync(clock, '61000')
  await system.until('both lists hide what is older', async () => {
    const { logged, delivered } = await lists()
    return logged.length + delivered.length === 0
  })
  await within(context, system, 5000, 'a post is taken', async () => (await post(system, BIG)).status === 201)
  await system.ready()
  assert.deepEqual(await pidsOf(system), pids)
})

test('homes filled by started messages, and the rest by a foreign file: outcomes are recorded, all is delivered, what expires makes room', async (context) => {
  const disk = smallDisk(context, 80)
  if (disk === undefined) return
  const [clock, handler, cure, filling] = ['clock', 'handler.mjs', 'cure', 'filling'].map((name) =>
    join(disk, name),
  )
  writeFileSync(clock!, '0')
  writeFileSync(
    handler!,
    `import { existsSync } from 'node:fs'
    export default () => {
      if (!existsSync(${JSON.stringify(cure)})) throw new Error('not yet')
    }`,
  )
  const attempts = ['--attempts', '1000', '--retry-min', '1s', '--retry-max', '2s', '--handler', handler!]
  const system = await started(context, [...SMALL, ...attempts, '--retention', '1m'], {
    data: join(disk, 'data'),
    env: { NODE_OPTIONS: `--import=${WALL_CLOCK}`, WALL_CLOCK_OFFSET: clock!, TIME_PASSES: '' },
  })
  await system.until('the reserve is there', async () => existsSync(join(system.data, 'reserve')))
  await system.send('PUT', '/delivery', { paused: true })
  const body = JSON.stringify(Array.from({ length: 16 }, () => ({ text: BIG })))
  const headers = { 'content-type': 'application/json' }
  const ids: string[] = []
  await system.until('the disk is full', async () => {
    const answer = await fetch(`${system.url}/messages`, { method: 'POST', body, headers })
    if (answer.status === 201) ids.push(...((await answer.json()) as { id: string }[]).map(({ id }) => id))
    else await answer.text()
    return answer.status === 503
  })
  await system.send('PUT', '/delivery', { paused: false })
  await untilNamed(system, /the disk is full: no message is started/)
  fill(filling!)
  await system.until('the reserve is given up', async () => !existsSync(join(system.data, 'reserve')))
  writeFileSync(cure!, '')
  const retrying = async () => (await system.actors()).reduce((sum, each) => sum + (each.retrying ?? 0), 0)
  await system.until('what was started is delivered', async () => (await retrying()) === 0)
  rmSync(filling!)
  const delivered = async () => (await system.get<{ delivered: Item[] }>('/messages')).delivered
  await system.until('all is delivered', async () => (await delivered()).length >= ids.length)
  const deliveredIds = new Set((await delivered()).map(({ id }) => id))
  assert.deepEqual(
    ids.filter((id) => !deliveredIds.has(id)),
    [],
  )
  writeFileSync(clock!, '61000')
  await within(context, system, 5000, 'a post is taken', async () => (await post(system, BIG)).status === 201)
  await system.until('the reserve is there again', async () => existsSync(join(system.data, 'reserve')))
  await system.ready()
})

test('a data file of another user: exit 78 at once, naming file, owner and who we are; a lock that does not lock is refused', async (context) => {
  const parent = smallDisk(context, 64)
  if (parent === undefined) return
  const data = join(parent, 'data')
  mkdirSync(data)
  chownSync(data, NOBODY, NOBODY)
  const system = await started(context, SMALL, { data, wrap: AS_NOBODY })
  const refused = async (...names: string[]) => {
    const paths = names.map((name) => join(data, name))
    for (const path of paths) {
      chownSync(path, 0, 0)
      chmodSync(path, 0o644)
    }
    system.spawn()
    assert.deepEqual(await system.exited, [78, null])
    for (const path of paths) {
      const words = `EACCES for ${path}, owned by uid 0, mode 644; Mailroom runs as uid ${NOBODY}`
      assert.ok(system.output.includes(words), system.output)
      chownSync(path, NOBODY, NOBODY)
    }
  }
  const first = system.primary
  const pids = await pidsOf(system)
  await refused('primary.lock')
  assert.deepEqual(
    pids.filter((pid) => !isAlive(pid)),
    [],
    'the living node is not touched',
  )
  system.primary = first
  system.exited = once(first, 'exit') as never
  await drains(system)
  await refused('home-1.db')
  await refused('log-1.1.db', 'home-0.lock', 'node.json', 'log-2.lock')
  await system.begin()
})
