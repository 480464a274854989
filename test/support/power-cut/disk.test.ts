/** The model of a disk by hand-written records: what is durable when. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { RecordedDisk, type Remains, type Step, stepsOf, toldStep } from './disk.ts'

const step = (kind: Step['kind'], rest: Partial<Step> = {}): Step => ({
  ...{ kind, inode: 0n, offset: 0, name: '', other: '', data: Buffer.alloc(0) },
  ...rest,
})
const created = (name: string, inode: bigint) => step('created', { name, inode })
const written = (inode: bigint, text: string, offset = 0) =>
  step('written', { inode, offset, data: Buffer.from(text) })
/** A sync of a file, or of the directory's names (inode 0), by one thread. */
const synced = (inode = 0n) => [
  step('began sync', { inode, offset: 1 }),
  step('synced', { inode, offset: 1 }),
]

/** The files that are left, with their content. */
function left(context: TestContext, steps: readonly Step[], remains: Remains): Record<string, string> {
  const disk = new RecordedDisk()
  for (const one of steps) disk.add(one)
  const directory = mkdtempSync(join(tmpdir(), 'disk-'))
  context.after(() => rmSync(directory, { recursive: true }))
  disk.writeTo(directory, remains, () => 0)
  return Object.fromEntries(
    readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')]),
  )
}

test('what was synced is there; what was written since is there with everything that is not synced', (context) => {
  const steps = [created('a', 1n), ...synced(), written(1n, 'old'), ...synced(1n), written(1n, 'new')]
  assert.deepEqual(left(context, steps, 'nothing'), { a: 'old' })
  assert.deepEqual(left(context, steps, 'the first part'), { a: 'old' })
  assert.deepEqual(left(context, steps, 'all'), { a: 'new' })
})

test('a sync covers what was written before it began, not what is written while it runs', (context) => {
  const during = [step('began sync', { inode: 1n, offset: 1 }), written(1n, '-new', 3)]
  const ended = step('synced', { inode: 1n, offset: 1 })
  const steps = [created('a', 1n), ...synced(), written(1n, 'old'), ...during, ended]
  assert.deepEqual(left(context, steps, 'nothing'), { a: 'old' })
})

test('a name that was created, renamed or removed is so for good when the directory was synced', (context) => {
  const steps = [created('a.new', 1n), written(1n, 'text'), ...synced(1n)]
  const renamed = step('renamed', { name: 'a.new', other: 'a' })
  const removed = step('removed', { name: 'a' })
  assert.deepEqual(left(context, steps, 'nothing'), {})
  assert.deepEqual(left(context, [...steps, ...synced(), renamed], 'nothing'), { 'a.new': 'text' })
  assert.deepEqual(left(context, [...steps, renamed, ...synced(), removed], 'nothing'), { a: 'text' })
  assert.deepEqual(left(context, [...steps, renamed, removed, ...synced()], 'nothing'), {})
})

test('an inode that is used again is another file; a file may be written before its creation is recorded', (context) => {
  const early = [written(1n, 'text'), ...synced(1n), created('a', 1n), ...synced()]
  assert.deepEqual(left(context, early, 'nothing'), { a: 'text' })
  const again = [step('removed', { name: 'a' }), created('b', 1n), ...synced()]
  assert.deepEqual(left(context, [...early, ...again], 'nothing'), { b: '' })
})

test('a truncation counts as a write does', (context) => {
  const steps = [created('a', 1n), ...synced(), written(1n, 'longer'), ...synced(1n)]
  const cut = step('truncated', { inode: 1n, offset: 2 })
  assert.deepEqual(left(context, [...steps, cut], 'nothing'), { a: 'longer' })
  assert.deepEqual(left(context, [...steps, cut, ...synced(1n)], 'nothing'), { a: 'lo' })
})

test('what a test writes into the record is read back', () => {
  const [one] = stepsOf(Buffer.concat([toldStep({ id: 'a' })]))
  assert.equal(one!.kind, 'told')
  assert.deepEqual(JSON.parse(one!.data.toString()), { id: 'a' })
})
