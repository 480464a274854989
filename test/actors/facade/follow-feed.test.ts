/** What a feed gives of the log: each message once, however often it is read. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { LogSource } from '../../../src/actors/facade/follow-feed.ts'
import type { LoggingPool } from '../../../src/actors/facade/logging-pool.ts'
import type { ActorContext } from '../../../src/runtime/cluster/actor-context.ts'
import { CURSOR_DELAY_MS } from '../../../src/runtime/timings.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test('pages that overlap give each message once, at any place of its batch, for the seconds in which it may come again', async () => {
  const clock = new FakeClock()
  const ids = idGenerator(clock, () => 0.5)(100)
  let page: string[] = []
  const follow = async () => ({
    messages: page.map((id) => ({ id, preview: { text: '', bytes: 0 } })),
    ...{ position: { after: '' }, isEnd: true },
  })
  const source = new LogSource({ clock } as unknown as ActorContext, { follow } as unknown as LoggingPool)
  const given: string[] = []
  const read = async (from: number, to: number) => {
    page = ids.slice(from, to)
    await source.step((_, items) => given.push(...items.map((item) => (item as { id: string }).id)))
  }
  await read(40, 70)
  await read(0, 50)
  await clock.advance(CURSOR_DELAY_MS)
  await read(30, 100)
  assert.deepEqual(given, [...ids.slice(40, 70), ...ids.slice(0, 40), ...ids.slice(70)])
})
