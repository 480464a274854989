/** The excuse of removed files: what was in them and posted before, and nothing else. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { check, NOTHING_WRONG } from '../support/checker.ts'
import { History } from '../support/history.ts'
import { excusedOf, type Loss, Removal } from './losses.ts'

const LOSS: Loss = {
  ...{ beganAt: 100, endedAt: 110, logged: new Set(['A', 'C', 'X']), delivered: new Set(['A', 'C']) },
}
const item = (id: string) => ({ id, text: `text of ${id}` })

/** Posted before the removal: A, B, C. Posted after its beginning: D. After its end: E. X was never answered. */
function history(): History {
  const made = new History()
  const posted = { A: 10, B: 20, C: 30, D: 105, E: 111, X: 50 }
  for (const [id, at] of Object.entries(posted)) {
    const { text } = item(id)
    made.attempted.add(text)
    made.postedAt.set(text, at)
    if (id !== 'X') made.acknowledge(id, text, at + 1)
  }
  return made
}

function verdict(made: History, logged: string[], delivered: string[], loss = LOSS) {
  const excused = excusedOf(made, [loss])
  const final = { logged: logged.map(item), stores: new Map([['messages-1', delivered.map(item)]]) }
  return check(made, final, { excused })
}

test('excuses what was in a removed file: gone from the log, or from both lists; an unanswered one in one list', () => {
  const made = history()
  made.deliveredReads.push(['A', 'B', 'C'])
  made.logReads.push(
    { beganAt: 40, endedAt: 99, ids: ['A', 'B', 'C'] },
    { beganAt: 98, endedAt: 100, ids: ['B'] },
  )
  assert.deepEqual(verdict(made, ['B', 'D', 'E'], ['B', 'C', 'D', 'E', 'X']), NOTHING_WRONG)
})

test('finds what was in no removed file', () => {
  assert.deepEqual(verdict(history(), ['D', 'E'], ['C', 'D', 'E']), { ...NOTHING_WRONG, lost: ['B'] })
  const torn = verdict(history(), ['D', 'E'], ['B', 'C', 'D', 'E'])
  assert.deepEqual(torn, { ...NOTHING_WRONG, lost: ['B'], torn: ['B'] })
})

test('finds what was acknowledged into a removed file: posted after the removal, not during it', () => {
  const all = { ...LOSS, logged: new Set(['D', 'E']) }
  const found = verdict(history(), ['A', 'B', 'C'], ['A', 'B', 'C'], all)
  assert.deepEqual(found, { ...NOTHING_WRONG, lost: ['E'] })
})

test('finds what a read before the removal did not show', () => {
  const made = history()
  made.logReads.push({ beganAt: 40, endedAt: 99, ids: ['B', 'C'] })
  assert.deepEqual(verdict(made, ['B', 'D', 'E'], ['B', 'C', 'D', 'E']), { ...NOTHING_WRONG, stale: ['A'] })
})

/** Files as Mailroom writes them: some rows in the file, one more in its write-ahead log. */
function data(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-losses-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'data')
  mkdirSync(path)
  const files = {
    'log-1.1.db': ['batch', 'A', 'B'],
    'log-2.1.db': ['batch', 'C', 'D'],
    'home-0.db': ['delivered', 'A', 'D'],
  }
  for (const [name, [table, first, second]] of Object.entries(files)) {
    const database = new DatabaseSync(join(path, name))
    database.exec(`PRAGMA journal_mode = WAL; CREATE TABLE ${table}(id TEXT, count INTEGER); INSERT INTO ${table} VALUES ('${first}', 1);
      PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO ${table} VALUES ('${second}', 1)`)
    context.after(() => database.close())
  }
  return path
}

for (const [what, pattern, expected] of [
  ['a log file', /^log-2/, { logged: ['C', 'D'], delivered: ['C', 'D'] }],
  ['a log file without its write-ahead log', /^log-2\.1\.db$/, { logged: ['C', 'D'], delivered: ['C', 'D'] }],
  ['a write-ahead log', /^log-1.*-wal$/, { logged: ['B'], delivered: ['B'] }],
  ['a home', /^home-0/, { logged: [], delivered: ['A', 'D'] }],
  ['all write-ahead logs', /-wal$/, { logged: ['B', 'D'], delivered: ['B', 'D'] }],
  ['all files', /./, { logged: ['A', 'B', 'C', 'D'], delivered: ['A', 'B', 'C', 'D'] }],
] as const) {
  test(`knows what was in ${what}`, (context) => {
    const path = data(context)
    const names = readdirSync(path).filter((name) => pattern.test(name))
    const removal = new Removal(path, names)
    assert.deepEqual(
      names.filter((name) => readdirSync(path).includes(name)),
      [],
    )
    const { logged, delivered } = removal.loss()
    assert.deepEqual({ logged: [...logged].sort(), delivered: [...delivered].sort() }, expected)
  })
}

test('knows what was in a write-ahead log that its writer begins anew after the removal', (context) => {
  const path = data(context)
  const database = new DatabaseSync(join(path, 'log-2.1.db'))
  context.after(() => database.close())
  const insert = (from: number, to: number) => {
    for (let row = from; row < to; row++)
      database.exec(`INSERT INTO batch VALUES ('${row}${'x'.repeat(1500)}', 1)`)
  }
  insert(0, 20)
  const removal = new Removal(path, ['log-2.1.db-wal'])
  insert(20, 60)
  database.exec('PRAGMA wal_checkpoint(RESTART)')
  insert(60, 63)
  const lost = [...removal.loss().logged].map((id) => Number.parseInt(id, 10))
  assert.deepEqual(lost, [60, 61, 62])
})

test('counts as lost what was in a file that the removal of its write-ahead log has damaged', (context) => {
  const path = data(context)
  const removal = new Removal(path, ['log-1.1.db-wal'])
  const pages = readFileSync(join(path, 'log-1.1.db'))
  writeFileSync(join(path, 'log-1.1.db'), pages.fill(1, 4096))
  assert.deepEqual([...removal.loss().logged].sort(), ['A', 'B'])
})
