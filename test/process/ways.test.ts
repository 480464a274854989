/** The way of a message through the real program. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Lists } from '../support/running-system.ts'
import { FIVE_ATTEMPTS, System } from '../support/system.ts'

/** These wait more than they work; those that wait longest are first. */
describe('ways', { concurrency: 2 }, () => {
  test('a message is queued while its handler runs, then delivered; a message whose handler throws becomes a dead letter', async (context) => {
    const handler = new URL('../support/handler.ts', import.meta.url).pathname
    const system = await System.start(context, ['--handler', handler, ...FIVE_ATTEMPTS])
    const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'wait 300' })
    assert.equal((await system.get<{ state: string }>(`/messages/${id}`)).state, 'queued')
    const done = await system.get<{ state: string; attempts: number }>(`/messages/${id}?wait=10`)
    assert.deepEqual({ state: done.state, attempts: done.attempts }, { state: 'delivered', attempts: 1 })

    const bad = await system.send<{ id: string }>('POST', '/messages', { text: 'throw' })
    await system.until('it is a dead letter', async () => {
      return (await system.get<{ state: string }>(`/messages/${bad.id}?wait=5`)).state === 'dead'
    })
    const { items } = await system.get<{ items: { id: string; attempts: number; lastError: string }[] }>(
      '/dead',
    )
    assert.equal(items.length, 1)
    assert.deepEqual(
      [items[0]!.id, items[0]!.attempts, items[0]!.lastError],
      [bad.id, 5, 'Error: as the text says'],
    )
    await system.send('DELETE', `/dead/${bad.id}`)
    assert.deepEqual(await system.get('/dead'), { items: [], next: null })
  })

  test('a message whose handler kills its process five times is a dead letter; the rest is delivered', async (context) => {
    const handler = new URL('../support/handler.ts', import.meta.url).pathname
    const system = await System.start(context, ['--handler', handler, '--messages', '1', ...FIVE_ATTEMPTS])
    const poison = await system.send<{ id: string }>('POST', '/messages', { text: 'die' })
    const texts = Array.from({ length: 30 }, (_, index) => ({ text: `mate ${index}` }))
    const mates = await system.send<{ id: string }[]>('POST', '/messages', texts)
    await system.until('the poison is a dead letter', async () => {
      return (await system.get<{ state: string }>(`/messages/${poison.id}?wait=5`)).state === 'dead'
    })
    for (const { id } of mates) {
      assert.equal((await system.get<{ state: string }>(`/messages/${id}?wait=5`)).state, 'delivered')
    }
    const { state } = await system.actor('messages-1')
    assert.equal(state, 'ready', 'the deaths counted for the message, not for the actor')
  })

  test('ten messages: every read of the log has all, both messages actors have some, each once', async (context) => {
    const system = await System.start(context)
    const texts = Array.from({ length: 10 }, (_, index) => `msg${index + 1}`)
    for (const text of texts) await system.send('POST', '/messages', { text })
    await system.until('all are delivered', async () => {
      return (
        (await system.actors()).reduce(
          (sum, { role, handled }) => sum + (role === 'messages' ? handled : 0),
          0,
        ) === 10
      )
    })
    const union = new Map<string, Set<string>>()
    for (let read = 0; read < 20; read++) {
      const { logged, delivered, deliveredTo, partial } = await system.get<Lists>('/messages')
      assert.deepEqual(
        logged.map(({ text }) => text),
        texts,
      )
      assert.deepEqual(partial, [])
      union.set(deliveredTo!, new Set(delivered.map(({ text }) => text)))
    }
    assert.deepEqual([...union.keys()].sort(), ['messages-1', 'messages-2'])
    const [first, second] = [...union.values()]
    assert.ok(first!.size > 0 && second!.size > 0, 'both got some')
    assert.equal(first!.size + second!.size, 10)
    assert.deepEqual(new Set([...first!, ...second!]), new Set(texts))
  })

  test('scaled to 3 messages actors, stopped, started with 2: every message is in the union of the lists', async (context) => {
    const system = await System.start(context)
    await system.send('PUT', '/actors/messages', { count: 3 })
    const texts = Array.from({ length: 60 }, (_, index) => `text ${index}`)
    await Promise.all(texts.map((text) => system.send('POST', '/messages', { text })))
    system.kill('SIGTERM')
    assert.deepEqual(await system.exited, [0, null])
    await system.begin()
    const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'after' })
    assert.equal((await system.get<{ state: string }>(`/messages/${id}?wait=10`)).state, 'delivered')
    await system.until('nothing waits', async () =>
      (await system.actors()).every(({ waiting = 0 }) => waiting === 0),
    )
    let logged: string[] = []
    let delivered: string[] = []
    // The lists are read one after the other: a lane that moves meanwhile is in both, or in none.
    await system.until('every message is in one list', async () => {
      const lists = await system.lists()
      logged = lists.logged.map(({ text }) => text)
      delivered = [...lists.stores.values()].flat().map(({ text }) => text)
      return delivered.length === logged.length
    })
    assert.deepEqual(delivered.sort(), [...texts, 'after'].sort())
    assert.deepEqual(logged.sort(), delivered)
  })
})
