/** Damaged data files of the embedded backend: found, named, set aside; nothing is deleted. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Item } from '../support/running-system.ts'
import { System } from '../support/system.ts'

const TEXTS = Array.from({ length: 40 }, (_, index) => `text number ${index + 10}`)
const ONE_OF_EACH = ['--logging', '1', '--messages', '1', '--lanes', '1']

test('a damaged log file and home are renamed and named in /readyz; all else works', async (context) => {
  const system = await stopped(context)
  const files = new Map<string, Buffer>()
  for (const name of ['log-1.1.db', 'home-0.db']) {
    const path = join(system.data, name)
    files.set(name, readFileSync(path).fill(0x5a, 0, 100))
    writeFileSync(path, files.get(name)!)
  }
  await system.begin()
  const damaged = await damagedOf(system)
  for (const [name, bytes] of files) {
    const aside = readdirSync(system.data).find((one) => one.startsWith(`${name}.damaged-`))!
    assert.ok(aside, `${name} is set aside`)
    assert.ok(readFileSync(join(system.data, aside)).equals(bytes), 'with all that was in it')
    assert.ok(
      damaged.some((words) => words.startsWith(aside)),
      `${aside} is named`,
    )
  }
  const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'after' })
  assert.equal((await system.get<{ state: string }>(`/messages/${id}?wait=10`)).state, 'delivered')
})

test('a text that was changed on the disk is named in /readyz and left out of both lists', async (context) => {
  const system = await stopped(context)
  const path = join(system.data, 'log-1.1.db')
  const bytes = readFileSync(path)
  const at = bytes.indexOf('text number 25')
  assert.notEqual(at, -1, 'the log holds the text')
  assert.ok(!readFileSync(join(system.data, 'home-0.db')).includes('text number'), 'and nothing else does')
  bytes.write('T', at)
  writeFileSync(path, bytes)
  await system.begin()
  const others = TEXTS.filter((text) => text !== 'text number 25')
  const { logged, stores } = await system.lists()
  assert.deepEqual(textsOf(logged), others)
  assert.deepEqual(textsOf([...stores.values()].flat()), others)
  await system.until('it is named', async () => (await damagedOf(system)).length > 0)
  assert.match((await damagedOf(system)).join(), /^message \w{26}: its text is not what was written$/)
})

/** A system that delivered `TEXTS` and was stopped. */
async function stopped(context: TestContext): Promise<System> {
  const system = await System.start(context, ONE_OF_EACH)
  await system.send(
    'POST',
    '/messages',
    TEXTS.map((text) => ({ text })),
  )
  await system.until('all are delivered', async () => (await system.actor('messages-1')).handled === 40)
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null])
  return system
}

async function damagedOf(system: System): Promise<string[]> {
  return (await system.get<{ damaged?: string[] }>('/readyz')).damaged ?? []
}

function textsOf(items: readonly Item[]): string[] {
  return items.map(({ text }) => text).sort()
}
