/** Handlers on real members: long ones, ones that kill their process, ones that deploys cut short. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { onMembers } from '../support/members.ts'
import type { Lists } from '../support/running-system.ts'
import { FIVE_ATTEMPTS, type System } from '../support/system.ts'

const HANDLER = [
  ...['--handler', new URL('../support/handler.ts', import.meta.url).pathname],
  ...FIVE_ATTEMPTS,
]
/** Longer than a lease, a scan, and the time a wake-up may be late. */
const LONG_MS = 15_000

interface Found {
  state: string
  attempts: number
}

onMembers(
  () => {
    test('on Hazelcast, a handler that takes longer than a lease is run once', async (context) => {
      const { system } = await hazelcastSystem(context, { args: HANDLER })
      const { id } = await system.send<{ id: string }>('POST', '/messages', { text: `wait ${LONG_MS}` })
      await system.until('it runs', async () => (await find(system, id)).attempts === 1)
      assert.equal((await find(system, id, 30)).state, 'delivered')
      assert.equal((await find(system, id)).attempts, 1)
    })

    test('on Hazelcast, five deploys in a row with handlers running make no dead letter', async (context) => {
      const { system } = await hazelcastSystem(context, { args: HANDLER })
      const texts = Array.from({ length: 4 }, () => ({ text: `wait ${LONG_MS}` }))
      const posted = await system.send<{ id: string }[]>('POST', '/messages', texts)
      for (let deploy = 0; deploy < 5; deploy++) {
        await system.until('one runs', async () => {
          const found = await Promise.all(posted.map(({ id }) => find(system, id)))
          return found.some(({ state, attempts }) => state === 'queued' && attempts > 0)
        })
        await system.send('POST', '/actors/messages/restart')
      }
      // Until all lanes have holders, this is refused, and `until` asks again.
      let letters: unknown
      await system.until('all lanes are back', async () => {
        letters = await system.get('/dead')
        return true
      })
      assert.deepEqual(letters, { items: [], next: null })
      for (const { id } of posted)
        assert.ok((await find(system, id)).attempts <= 1, 'cut starts are given back')
    })

    test('on Hazelcast, a message whose handler kills its process five times is a dead letter; it can be replayed and purged', async (context) => {
      const { system } = await hazelcastSystem(context, { args: [...HANDLER, '--messages', '1'] })
      const poison = await system.send<{ id: string }>('POST', '/messages', { text: 'die' })
      const texts = Array.from({ length: 30 }, (_, index) => ({ text: `mate ${index}` }))
      const mates = await system.send<{ id: string }[]>('POST', '/messages', texts)
      const isDead = async () => (await find(system, poison.id, 5)).state === 'dead'
      await system.until('the poison is a dead letter', isDead)
      for (const { id } of mates) assert.equal((await find(system, id, 5)).state, 'delivered')
      assert.equal((await system.actor('messages-1')).state, 'ready', 'the deaths counted for the message')

      // Its lanes come back one by one: until all are here, nobody can say that there is no such letter.
      await system.until('all lanes are back', () => isWhole(system))
      await system.send('POST', `/dead/${poison.id}/replay`)
      await system.until('it is dead again', isDead)
      await system.until('all lanes are back', () => isWhole(system))
      await system.send('DELETE', `/dead/${poison.id}`)
      assert.deepEqual(await system.get('/dead'), { items: [], next: null })
    })
  },
  { atOnce: true },
)

/** False while some lane has no holder. */
async function isWhole(system: System): Promise<boolean> {
  return (await system.get<Lists>('/messages?limit=1')).partial.length === 0
}

function find(system: System, id: string, waitSeconds = 0): Promise<Found> {
  return system.get(`/messages/${id}?wait=${waitSeconds}`)
}
