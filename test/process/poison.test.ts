/** Several messages that end the handler's process, of one actor: they become dead letters, and all the rest goes on. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FIVE_ATTEMPTS, System } from '../support/system.ts'

const HANDLER = new URL('../support/handler.ts', import.meta.url).pathname
const FLAGS = [
  '--messages',
  '1',
  '--lanes',
  '2',
  '--handler',
  HANDLER,
  '--handler-timeout',
  '100ms',
  ...FIVE_ATTEMPTS,
]
/** A probe of an open breaker comes every 30 s. */
const HEALTHY_MS = 15_000
const STARTS = 5

interface Letter {
  id: string
  attempts: number
  lastError: string
}

test('messages whose handlers ignore their signal are dead letters after five starts; others on the same lanes are delivered meanwhile, and the actor never fails', async (context) => {
  const { system, poison } = await withPoison(context, 'hang', 3, ['--handler-concurrency', '4'])
  let letters: Letter[] = []
  let deliveredMeanwhile = 0
  while (letters.length < poison.length) {
    const healthy = await post(system, 'healthy')
    const isDelivered = async () => {
      assert.notEqual((await system.actor('messages-1')).state, 'failed')
      letters = await deadLetters(system)
      return (await stateOf(system, healthy)) === 'delivered'
    }
    await system.until('a healthy message is delivered', isDelivered, HEALTHY_MS)
    deliveredMeanwhile++
  }
  assert.ok(deliveredMeanwhile >= STARTS, `${deliveredMeanwhile} were delivered meanwhile`)
  assert.equal((await system.actor('messages-1')).restarts, 0, 'only processes of the handler end')
  assert.deepEqual(letters.map(({ id }) => id).sort(), poison.sort())
  for (const { attempts } of letters) assert.equal(attempts, STARTS)
  assert.ok(
    letters.some(({ lastError }) => lastError === 'Handler timeout of 100 ms, and it ignored its signal'),
  )
})

test('more messages that kill their process than a breaker allows crashes are dead letters, and the actor never fails', async (context) => {
  const { system, poison } = await withPoison(context, 'die', STARTS + 1)
  const healthy = await post(system, 'healthy')
  const areDead = async () => {
    assert.notEqual((await system.actor('messages-1')).state, 'failed')
    return (await deadLetters(system)).length === poison.length
  }
  await system.until('all are dead letters', areDead, 120_000)
  for (const { attempts } of await deadLetters(system)) assert.equal(attempts, STARTS)
  await system.until('the other is delivered', async () => (await stateOf(system, healthy)) === 'delivered')
})

async function withPoison(context: TestContext, text: string, count: number, flags: string[] = []) {
  const system = await System.start(context, [...FLAGS, ...flags])
  const texts = Array.from({ length: count }, () => ({ text }))
  const posted = await system.send<{ id: string }[]>('POST', '/messages', texts)
  return { system, poison: posted.map(({ id }) => id) }
}

async function post(system: System, text: string): Promise<string> {
  return (await system.send<{ id: string }>('POST', '/messages', { text })).id
}

async function stateOf(system: System, id: string): Promise<string> {
  return (await system.get<{ state: string }>(`/messages/${id}`)).state
}

async function deadLetters(system: System): Promise<Letter[]> {
  return (await system.get<{ items: Letter[] }>('/dead')).items
}
