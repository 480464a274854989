/** Every route of the table against the real program: without a token, with a wrong one, with the right one. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Operation, ROUTES, type Route } from '../../src/http/routes/table.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { System } from '../support/system.ts'
import { bytes, type Headers, head } from './case.ts'
import { Wire } from './wire.ts'

const TOKEN = 'the-right-token-of-32-characters'

/** What the right token gets. A route that is new has to be decided upon here. */
const RIGHT: Record<Operation, { status: number; query?: string; body?: string; open?: true }> = {
  postMessages: { status: 201, body: '{"text":"with the right token"}' },
  getLists: { status: 200 },
  getMessage: { status: 404 },
  redeliverMessage: { status: 404 },
  // Sources have checks of their own; there is none with this name.
  postInbox: { status: 404, open: true },
  getInbox: { status: 404, open: true },
  askInbox: { status: 404, open: true },
  getLog: { status: 200 },
  redriveLog: { status: 200 },
  getMetrics: { status: 200 },
  getActors: { status: 200 },
  // The embedded backend has no cluster.
  getCluster: { status: 404 },
  getStore: { status: 200 },
  putActors: { status: 200, body: '{"count":3}' },
  restartActors: { status: 200 },
  getDead: { status: 200 },
  replayManyDead: { status: 200 },
  purgeManyDead: { status: 200 },
  getDeadGroups: { status: 200 },
  getDeadOne: { status: 404 },
  replayDead: { status: 404 },
  deleteDead: { status: 404 },
  getDelivery: { status: 200 },
  putDelivery: { status: 200, body: '{"paused":false}' },
  getLosses: { status: 200 },
  confirmLosses: { status: 200 },
  getSession: { status: 200, open: true },
  postSession: { status: 400, body: '{"text":"no token"}', open: true },
  deleteSession: { status: 204, open: true },
  getPage: { status: 200, open: true },
  getAsset: { status: 404, open: true },
  getHistory: { status: 200 },
  // Without the fault in the query the answer would not end.
  getEvents: { status: 400, query: '?only=nothing' },
  getOpenapi: { status: 200, open: true },
  getDocs: { status: 200, open: true },
  getLivez: { status: 200, open: true },
  getReadyz: { status: 200, open: true },
}

const bearer = (token: string): Headers => [['Authorization', `Bearer ${token}`]]

const WRONG: readonly (readonly [what: string, headers: Headers])[] = [
  ['no token', []],
  ['an empty Authorization', [['Authorization', '']]],
  ['an empty token', bearer('')],
  ['a wrong token', bearer('another-token-of-32-characters-.')],
  ['the token less a character', bearer(TOKEN.slice(0, -1))],
  ['the token and a character', bearer(`${TOKEN}.`)],
  ['the token in capitals', bearer(TOKEN.toUpperCase())],
  ['the token in quotes', bearer(`"${TOKEN}"`)],
  ['the token and a NUL escaped', bearer(`${TOKEN}%00`)],
  ['the token without a scheme', [['Authorization', TOKEN]]],
  ['the token as Basic', [['Authorization', `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}`]]],
  ['the token as a proxy is told', [['Proxy-Authorization', `Bearer ${TOKEN}`]]],
  ['the token in a cookie', [['Cookie', `token=${TOKEN}`]]],
  ['the token as the cookie of a session', [['Cookie', `mailroom=${TOKEN}`]]],
  ['a session that nobody has signed', [['Cookie', `mailroom=all.9999999999999.${'A'.repeat(43)}`]]],
  ['a session without a signature', [['Cookie', 'mailroom=all.9999999999999.']]],
  ['a cookie of 10,000 characters', [['Cookie', `mailroom=${'x'.repeat(10_000)}`]]],
  ['a thousand cookies', [['Cookie', 'mailroom=x; '.repeat(1000)]]],
  ['the token and another in one header', bearer(`${TOKEN}, Bearer x`)],
  ['a token of 10,000 characters', bearer('t'.repeat(10_000))],
  ['the token twice', [...bearer(TOKEN), ...bearer(TOKEN)]],
  ['a wrong token and the right one', [...bearer('x'.repeat(32)), ...bearer(TOKEN)]],
]

describe('tokens', () => {
  let system: System
  const done: (() => Promise<void>)[] = []
  before(async () => {
    const args = ['--token', TOKEN]
    system = await System.start({ after: (work) => done.push(work as () => Promise<void>) }, args)
  })
  after(async () => {
    for (const work of done) await work()
  })

  const ask = async (operation: Operation, headers: Headers) => {
    const { method, path }: Route = ROUTES[operation]
    const target = path.replace('{role}', 'logging').replace('{name}', 'messages-1').replace('{id}', MIN_ID)
    const { body = '', query = '' } = RIGHT[operation]
    const about: Headers =
      body === ''
        ? []
        : [
            ['Content-Type', 'application/json'],
            ['Content-Length', String(body.length)],
          ]
    const wire = await Wire.open(system.port)
    wire.say(bytes(head(`${method} ${target}${query} HTTP/1.1`, [...headers, ...about]), body))
    assert.ok(await wire.until(() => wire.answers().length > 0, 20_000), 'it is answered')
    const [answer] = wire.answers()
    wire.socket.destroy()
    return answer!
  }

  for (const operation of Object.keys(ROUTES) as Operation[]) {
    const { status, open } = RIGHT[operation]
    test(`${operation} is ${open ? 'open to everyone' : 'closed to everyone without the token'}`, async () => {
      assert.equal(['open', 'source'].includes(ROUTES[operation].role), open === true)
      for (const [what, headers] of WRONG) {
        const answer = await ask(operation, headers)
        assert.equal(answer.status, open ? status : 401, what)
        if (open) continue
        assert.equal(answer.headers['www-authenticate'], 'Bearer')
        const { code, outcome } = JSON.parse(answer.body) as Record<string, unknown>
        assert.deepEqual([code, outcome], ['MR_TOKEN_INVALID', 'none'])
      }
    })

    test(`${operation} with the right token is answered ${status}`, async () => {
      assert.equal((await ask(operation, bearer(TOKEN))).status, status)
    })
  }

  test('nothing came of all the calls without the token', async () => {
    const get = async (path: string) => {
      const response = await fetch(system.url + path, { headers: { authorization: `Bearer ${TOKEN}` } })
      return (await response.json()) as { items: { text: string }[] } & { role: string; restarts: number }[]
    }
    assert.deepEqual(
      (await get('/log')).items.map(({ text }) => text),
      ['with the right token'],
    )
    const logging = (await get('/actors')).filter(({ role }) => role === 'logging')
    assert.equal(logging.length, 3)
  })
})
