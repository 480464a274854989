/** Data that an earlier version has written is read by this one. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fill, look } from './format.ts'

const KEPT = new URL('format-2', import.meta.url).pathname
const EXPECTED: unknown = JSON.parse(readFileSync(`${KEPT}.json`, 'utf8'))

function directory(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-format-'))
  context.after(() => rmSync(path, { recursive: true }))
  return join(path, 'data')
}

test('a directory of format 2 that was kept is read: log, lists, dead letters, attempts, keys', async (context) => {
  const data = directory(context)
  cpSync(KEPT, data, { recursive: true })
  assert.deepEqual(await look(data), EXPECTED)
})

test('what is written today is of format 2', async (context) => {
  const data = directory(context)
  await fill(data)
  assert.deepEqual(await look(data), EXPECTED)
})
