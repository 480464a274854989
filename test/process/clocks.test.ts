/** Wrong wall clocks, under the real program: a preload moves what `Date.now` says in all processes of the node. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Item, Lists } from '../support/running-system.ts'
import { System } from '../support/system.ts'

const HOUR_MS = 3_600_000
const YEAR_MS = 365 * 24 * HOUR_MS
const PRELOAD = new URL('../support/wall-clock-child.ts', import.meta.url).pathname
const HANDLER = new URL('../support/handler.ts', import.meta.url).pathname
/** Few processes, so that starts are quick. */
const SMALL = ['--logging', '1', '--messages', '1', '--lanes', '2']

interface Posted {
  id: string
  at: string
}

/** The wall clock of a node under test. */
class WallClock {
  readonly #file: string
  readonly env: Record<string, string>

  constructor(context: Pick<TestContext, 'after'>, offsetMs: number) {
    const folder = mkdtempSync(join(tmpdir(), 'wall-clock-'))
    context.after(() => rmSync(folder, { recursive: true, force: true }))
    this.#file = join(folder, 'offset')
    this.env = { NODE_OPTIONS: `--import=${PRELOAD}`, WALL_CLOCK_OFFSET: this.#file }
    this.set(offsetMs)
  }

  set(offsetMs: number): void {
    writeFileSync(`${this.#file}.new`, String(Math.round(offsetMs)))
    renameSync(`${this.#file}.new`, this.#file) // A process that reads meanwhile finds the old or the new one.
  }

  /** Says an instant. */
  say(instant: number): void {
    this.set(instant - Date.now())
  }
}

function post(system: System, text: string): Promise<Posted> {
  return system.send<Posted>('POST', '/messages', { text })
}

async function newest(system: System): Promise<string[]> {
  const [{ items }, { logged }] = await Promise.all([
    system.get<{ items: Item[] }>('/log?limit=1'),
    system.get<Lists>('/messages?limit=1'),
  ])
  return [...items, ...logged].map(({ id }) => id)
}

async function loggedTexts(system: System): Promise<string[]> {
  return (await system.get<Lists>('/messages')).logged.map(({ text }) => text)
}

function ageMs({ at }: Posted): number {
  return Date.now() - Date.parse(at)
}

test('the wall clock goes back an hour: retries come in time, a follower sees each message, the newest is newest', async (context) => {
  const clock = new WallClock(context, HOUR_MS)
  const args = ['--handler', HANDLER, '--handler-concurrency', '200', '--retry-min', '500ms']
  const system = await System.start(context, [...SMALL, ...args], { env: clock.env })
  const retried = await Promise.all(Array.from({ length: 5 }, () => post(system, 'fail 2')))
  clock.set(0)
  const texts = Array.from({ length: 1200 }, (_, index) => `text ${index}`)
  const batches = [texts.slice(0, 1000), texts.slice(1000)]
  const ids = new Set(retried.map(({ id }) => id))
  for (const batch of batches) {
    const receipts = await system.send<Posted[]>(
      'POST',
      '/messages',
      batch.map((text) => ({ text })),
    )
    for (const { id } of receipts) ids.add(id)
  }
  for (const { id } of retried) {
    const { state, attempts } = await system.get<{ state: string; attempts: number }>(
      `/messages/${id}?wait=10`,
    )
    assert.deepEqual([state, attempts], ['delivered', 3])
  }

  const first = await post(system, 'first')
  let path = `/log?limit=500&after=${'0'.repeat(26)}`
  const seen = new Set<string>()
  await system.until('a follower has seen all', async () => {
    const { items, next } = await system.get<{ items: Item[]; next: string | null }>(path)
    for (const { id } of items) seen.add(id)
    path = next ?? path
    return [...ids, first.id].every((id) => seen.has(id))
  })
  assert.equal(seen.size, ids.size + 1)

  await system.send('POST', '/actors/facade/restart')
  const last = await post(system, 'last')
  assert.ok(last.at > first.at, `at goes on: ${first.at}, ${last.at}`)
  assert.deepEqual(await newest(system), [last.id, last.id])
})

test('the wall clock goes forward an hour and back, with a crash between: messages keep their order and their time', async (context) => {
  const clock = new WallClock(context, 0)
  const system = await System.start(context, ['--facade', '2', ...SMALL], { env: clock.env })
  const texts: string[] = []
  const postOne = async (text: string) => {
    texts.push(text)
    const posted = await post(system, text)
    assert.ok(Math.abs(ageMs(posted)) < 10_000, `${text}: at is ${posted.at}`)
    assert.deepEqual(await newest(system), [posted.id, posted.id], text)
  }
  await postOne('right')
  clock.set(HOUR_MS)
  await system.until('the clock is named', async () => {
    const { warnings = [] } = await system.get<{ warnings?: string[] }>('/readyz')
    return /wall clock .* ahead/.test(warnings.join())
  })
  await postOne('an hour ahead')
  system.kill()
  await system.exited
  await system.begin()
  await postOne('an hour ahead, after a crash')
  clock.set(-HOUR_MS)
  await postOne('an hour behind')
  clock.set(0)
  await postOne('right again')
  assert.deepEqual(await loggedTexts(system), texts)
})

test('after a reboot with another clock messages keep their order, and the time it was off does not count', async (context) => {
  const clock = new WallClock(context, 0)
  const system = await System.start(context, ['--retention', '1h', ...SMALL], { env: clock.env })
  const reboot = async (offsetMs: number) => {
    system.kill()
    await system.exited
    const path = join(system.data, 'clock.json')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), boot: 'another' }))
    clock.set(offsetMs)
    await system.begin()
  }
  const before = await post(system, 'before')
  await reboot(30 * 24 * HOUR_MS)
  assert.deepEqual(await loggedTexts(system), ['before'])
  assert.equal((await system.get<{ text: string }>(`/messages/${before.id}`)).text, 'before')
  const ahead = await post(system, 'a month later')
  assert.deepEqual(await newest(system), [ahead.id, ahead.id])
  assert.ok(ageMs(ahead) < -29 * 24 * HOUR_MS)
  await reboot(-HOUR_MS)
  const back = await post(system, 'back')
  assert.deepEqual(await newest(system), [back.id, back.id])
  assert.deepEqual(await loggedTexts(system), ['before', 'a month later', 'back'])
})

test('a clock that says 1970 at the start: posts are refused until it is right, and nothing acknowledged vanishes', async (context) => {
  const clock = new WallClock(context, 0)
  clock.say(60_000)
  const system = await System.spawned(context, ['--retention', '1m', ...SMALL], { env: clock.env })
  await system.until('it says that its clock is wrong', async () => {
    const response = await fetch(`${system.url}/readyz`)
    const { missing } = (await response.json()) as { missing: string[] }
    return response.status === 503 && missing.length === 1 && /clock.* 1970-01-01T00:0\d/.test(missing[0]!)
  })
  const refused = await fetch(`${system.url}/messages`, { method: 'POST', body: '[{"text":"a"}]', headers })
  const problem = (await refused.json()) as { code: string; outcome: string; detail: string }
  assert.deepEqual([refused.status, problem.code, problem.outcome], [503, 'MR_CLOCK_WRONG', 'none'])
  assert.match(problem.detail, /1970-01-01T00:0\d/)
  assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
  const lines = await fetch(`${system.url}/messages`, {
    ...{ method: 'POST', body: '{"text":"a"}\n', headers: { 'content-type': 'application/x-ndjson' } },
  })
  assert.match(await lines.text(), /"code":"MR_CLOCK_WRONG".*"outcome":"none"/)
  assert.deepEqual(await loggedTexts(system), [])

  clock.set(0)
  await system.ready()
  const texts = Array.from({ length: 20 }, (_, index) => `text ${index}`)
  const posted: Posted[] = []
  for (const text of texts) posted.push(await post(system, text))
  for (const wrong of [Date.now() + 70 * YEAR_MS, 60_000, Date.now() + 30 * 24 * HOUR_MS]) {
    clock.say(wrong)
    await system.until('the clock is named', async () => {
      const { warnings = [] } = await system.get<{ warnings?: string[] }>('/readyz')
      return warnings.some((warning) => warning.includes(new Date(wrong).toISOString().slice(0, 10)))
    })
    const late = await post(system, `at ${new Date(wrong).toISOString()}`)
    texts.push(`at ${new Date(wrong).toISOString()}`)
    assert.ok(Math.abs(ageMs(late)) < 10_000, late.at)
    assert.deepEqual(await loggedTexts(system), texts)
  }
  clock.set(0)
  await post(system, 'right again')
  assert.deepEqual(await loggedTexts(system), [...texts, 'right again'])
  for (const { id } of posted) assert.equal((await fetch(`${system.url}/messages/${id}`)).status, 200)
})

const headers = { 'content-type': 'application/json' }
