/** Connections of clients through restarts, scaling, idleness and the end of the node: none is reset unannounced. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startRelay } from '../support/relay.ts'
import { System } from '../support/system.ts'

/** Clients that post over one kept-alive connection each, with a pause after each answer. */
class Posters {
  readonly outcomes = new Map<string, number>()
  readonly #port: number
  readonly #pauseMs: number
  readonly #ending = new AbortController()
  readonly #clients: Promise<void>[]

  constructor(context: Pick<TestContext, 'after'>, port: number, count: number, pauseMs: number) {
    context.after(() => this.#ending.abort())
    this.#port = port
    this.#pauseMs = pauseMs
    this.#clients = Array.from({ length: count }, (_, index) => this.#run((index / count) * pauseMs))
  }

  get posted(): number {
    return [...this.outcomes.values()].reduce((sum, count) => sum + count, 0)
  }

  async end(): Promise<Record<string, number>> {
    this.#ending.abort()
    await Promise.all(this.#clients)
    return Object.fromEntries(this.outcomes)
  }

  async #run(delayMs: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    await sleep(delayMs)
    while (!this.#ending.signal.aborted) {
      const outcome = await post(this.#port, agent)
      this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
      await sleep(this.#pauseMs, undefined, { signal: this.#ending.signal }).catch(() => {})
    }
    agent.destroy()
  }
}

/** Posts once. @returns The status, or the code of the error and whether the connection was a new one. */
async function post(port: number, agent: Agent): Promise<string> {
  const headers = { 'content-type': 'text/plain', 'content-length': 4 }
  const asking = request({ port, host: '127.0.0.1', path: '/messages', method: 'POST', agent, headers })
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      asking.on('response', resolve).on('error', reject).end('text')
    })
    for await (const _ of response);
    return String(response.statusCode)
  } catch (error) {
    return `${(error as NodeJS.ErrnoException).code} on ${asking.reusedSocket ? 'an old' : 'a new'} connection`
  }
}

/** Posts, pauses, and posts again on the same connection, unless it was closed meanwhile. @returns Each outcome. */
async function postTwice(port: number, pauseMs: number): Promise<string[]> {
  const socket = connect(port, '127.0.0.1')
  let heard = ''
  socket.on('data', (chunk) => {
    heard += chunk
  })
  socket.on('error', ({ message }) => {
    heard = message
  })
  const outcomes: string[] = []
  while (outcomes.length < 2 && heard === '' && !socket.readableEnded) {
    socket.write(
      'POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na',
    )
    await Promise.race([once(socket, 'data'), once(socket, 'close')])
    outcomes.push(heard.slice(0, 'HTTP/1.1 201'.length))
    await sleep(pauseMs / 2)
    heard = ''
    await sleep(pauseMs / 2)
  }
  socket.destroy()
  return outcomes
}

/** One logging and one messages actor start faster than the default. */
const SMALL = ['--logging', '1', '--messages', '1']

/** These wait more than they work. */
describe('connections', { concurrency: 2 }, () => {
  test('rolling restart with 100 ms between client and server: no connection is reset', async (context) => {
    const system = await System.start(context, SMALL)
    const posters = new Posters(context, await startRelay(context, system.port, 50), 200, 3000)
    await system.until('every client has posted', async () => posters.posted >= 200)
    for (let round = 0; round < 2; round++) await system.send('POST', '/actors/facade/restart')
    await system.send('PUT', '/actors/facade', { count: 3 })
    await system.send('POST', '/actors/facade/restart')
    await system.send('PUT', '/actors/facade', { count: 1 })
    assert.deepEqual(Object.keys(await posters.end()), ['201'])
  })

  test('SIGTERM with 100 ms between client and server: a request on an open connection is answered', async (context) => {
    const system = await System.start(context, [...SMALL, '--facade', '2'])
    const port = await startRelay(context, system.port, 50)
    const posters = new Posters(context, port, 200, 3000)
    await system.until('every client has posted', async () => posters.posted >= 200)
    system.kill('SIGTERM')
    assert.deepEqual(await system.exited, [0, null])
    const outcomes = Object.keys(await posters.end())
    // The relay takes connections that the node refuses, and resets them.
    const expected = ['201', '408', 'ECONNRESET on a new connection']
    assert.deepEqual(
      outcomes.filter((outcome) => !expected.includes(outcome)),
      [],
    )
  })

  test('64 kept-alive connections: each of four facades has its share, also after a restart; none refuses while another is idle', async (context) => {
    const system = await System.start(context, SMALL)
    const isEven = async () => {
      const facades = (await system.actors()).filter(({ role }) => role === 'facade')
      const counts = facades.map(({ connections = 0 }) => connections)
      return Math.max(...counts) <= 2 * Math.min(...counts)
    }
    const clients = [new Posters(context, system.port, 64, 200)]
    await system.until('all are connected to one facade', async () => clients[0]!.posted >= 64)
    await system.send('PUT', '/actors/facade', { count: 4 })
    await system.until('64 connections are shared evenly', isEven, 5000)
    await system.send('POST', '/actors/facade/restart')
    await system.until('they are shared evenly after a restart', isEven, 5000)
    // To a store that does not answer for 2 s, one facade admits 256 posts. These are 200 for each.
    clients.push(new Posters(context, system.port, 736, 3000))
    await system.until(
      '800 connections are shared evenly',
      async () => clients[1]!.posted > 736 && isEven(),
      5000,
    )
    const { pid } = await system.actor('logging-1')
    process.kill(pid, 'SIGSTOP')
    await system.until('it is replaced', async () => (await system.actor('logging-1')).pid !== pid)
    const outcomes = await Promise.all(clients.map((posters) => posters.end()))
    // The frozen store costs some a 503.
    const refused = outcomes.map((counts) => counts['429'] ?? 0)
    assert.deepEqual(refused, [0, 0], JSON.stringify(outcomes))
  })

  test('the primary is killed while connections are passed on: no facade outlives it', async (context) => {
    const system = await System.start(context, ['--facade', '1'])
    const posters = new Posters(context, Number(new URL(system.url).port), 300, 20)
    for (const delayMs of [0, 10, 30]) {
      const scaled = system.send('PUT', '/actors/facade', { count: 4 }).catch(() => {})
      await system.until('a second facade has connections', async () => {
        const facades = (await system.actors()).filter(({ role }) => role === 'facade')
        return facades.filter(({ connections = 0 }) => connections > 0).length > 1
      })
      await sleep(delayMs)
      system.kill('SIGKILL')
      await system.workersEnded()
      await scaled
      await system.begin()
    }
    await posters.end()
  })

  test('an idle connection is closed with a word, later than common clients close it', async (context) => {
    const handler = new URL('../support/handler.ts', import.meta.url).pathname
    const system = await System.start(context, [...SMALL, '--keep-alive', '1s', '--handler', handler])
    const port = await startRelay(context, system.port, 50)
    // Node closes an idle connection a second late. Some requests cross that close.
    const pauses = Array.from({ length: 60 }, (_, index) => 1850 + 5 * index)
    const outcomes = await Promise.all(pauses.map((pauseMs) => postTwice(port, pauseMs)))
    const seen = new Set(outcomes.flat())
    assert.deepEqual([...seen].sort(), ['HTTP/1.1 201', 'HTTP/1.1 408'])
    assert.ok(
      outcomes.some(({ length }) => length === 1),
      'the last ones saw the close before they posted',
    )

    await test('100 long polls hold up neither reads nor wake-ups', () => longPolls(system))
  })
})

/** Readers that wait for one message, while others are served. */
async function longPolls(system: System): Promise<void> {
  const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'hang' })
  const polls = Array.from({ length: 100 }, () => system.get<{ state: string }>(`/messages/${id}?wait=3`))
  let isOver = false
  const all = Promise.all(polls).finally(() => {
    isOver = true
  })
  while (!isOver) {
    const beganAt = performance.now()
    const { partial } = await system.get<{ partial: string[] }>('/messages')
    assert.deepEqual(partial, [])
    assert.ok(performance.now() - beganAt < 1000, 'a read took a second')
  }
  assert.deepEqual([...new Set((await all).map(({ state }) => state))], ['queued'])
}
