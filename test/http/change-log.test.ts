/** Every change through the API is one log line: who, from where, what, and what came of it. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { isChange } from '../../src/http/routes/match.ts'
import { ROUTES, type Route } from '../../src/http/routes/table.ts'
import { REFUSAL_LOG_MS } from '../../src/runtime/timings.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { type Api, startApi, until } from '../support/public-api.ts'

const TOKEN = 'the-token-of-all-32-characters-x'
const READ_TOKEN = 'the-token-of-readers-32-charact.'
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` }
const JSON_TYPE = { 'content-type': 'application/json' }

const start = (t: Parameters<typeof startApi>[0]) =>
  startApi(t, { token: TOKEN, readToken: READ_TOKEN, level: 'info' })

/** The lines since the last call, without what is new in each. */
function linesOf(api: Api): Record<string, unknown>[] {
  const lines = api.logged.splice(0).map(({ time, pid, hostname, requestId, ...line }) => line)
  assert.ok(!JSON.stringify(lines).includes(TOKEN) && !JSON.stringify(lines).includes(READ_TOKEN))
  return lines
}

const line = (what: object, result: object, rest: object = {}) => ({
  ...{ level: 30, role: 'all', address: '127.0.0.1', what, result, msg: 'a change', ...rest },
})

test('the line names the role, the address, the operation with its parameters, and the result', async (t) => {
  const api = await start(t)
  const put = (path: string, body: string, headers = AUTHORIZED) =>
    api.ask('PUT', path, { headers: { ...headers, ...JSON_TYPE }, body })
  await put('/actors/logging', '{"count":2}')
  await put('/actors/nothing', '{"count":2}')
  await put('/delivery', '{"paused":true}')
  await put('/delivery', '{"paused":"no"}')
  await api.ask('POST', '/dead/purge?source=github&limit=5', { headers: AUTHORIZED })
  await api.ask('DELETE', `/dead/${MIN_ID}`, { headers: AUTHORIZED })
  assert.deepEqual(linesOf(api), [
    line({ operation: 'putActors', role: 'logging', count: 2 }, { status: 200 }),
    line({ operation: 'putActors', role: 'nothing' }, { status: 404, code: 'MR_NOT_FOUND' }),
    line({ operation: 'putDelivery', paused: true }, { status: 200 }),
    line({ operation: 'putDelivery' }, { status: 400, code: 'MR_REQUEST_INVALID' }),
    line({ operation: 'purgeManyDead', limit: '5', source: 'github' }, { status: 200 }),
    line({ operation: 'deleteDead', id: MIN_ID }, { status: 404, code: 'MR_NOT_FOUND' }),
  ])
})

test('every route that changes something has its line, and no other has one', async (t) => {
  const api = await start(t)
  for (const [operation, route] of Object.entries(ROUTES) as [string, Route][]) {
    const isTyped = route.types.length > 0
    const { body } = await api.client.request({
      method: route.method as 'GET',
      path: route.path.replace('{role}', 'logging').replace(/\{\w+\}/, MIN_ID),
      headers: { ...AUTHORIZED, ...(isTyped && JSON_TYPE) },
      body: isTyped ? '{"text":"a text that is no part of a line"}' : null,
    })
    body.on('error', () => {}).destroy()
    await until(() => body.closed)
    const isLogged =
      route.method !== 'GET' &&
      route.method !== 'OPTIONS' &&
      !['/messages', '/in/{source}'].includes(route.path)
    assert.equal(isChange(route), isLogged, operation)
    const lines = linesOf(api)
    assert.deepEqual(
      lines.map(({ what }) => (what as { operation: string }).operation),
      isLogged ? [operation] : [],
    )
    assert.ok(!JSON.stringify(lines).includes('a text'))
  }
})

test('a sign-in is a line with the role it gave, a sign-out with the role that ends', async (t) => {
  const api = await start(t)
  const signIn = (token: string) =>
    api.ask('POST', '/session', { headers: JSON_TYPE, body: JSON.stringify({ token }) })
  const cookie = String((await signIn(READ_TOKEN)).headers['set-cookie']).split(';')[0]!
  await signIn('wrong')
  await api.ask('DELETE', '/session', { headers: { cookie } })
  const refused = { level: 40, role: null, msg: 'a change was refused' }
  assert.deepEqual(linesOf(api), [
    line({ operation: 'postSession' }, { status: 200 }, { role: 'read' }),
    line({ operation: 'postSession' }, { status: 401, code: 'MR_TOKEN_INVALID' }, refused),
    line({ operation: 'deleteSession' }, { status: 204 }, { role: 'read' }),
  ])
})

test('refusals are lines too, the first ten of a second', async (t) => {
  const api = await start(t)
  await api.ask('POST', '/loss/confirm', { headers: { authorization: `Bearer ${READ_TOKEN}` } })
  for (let count = 0; count < 14; count++) await api.ask('POST', '/loss/confirm')
  const refused = { level: 40, msg: 'a change was refused' }
  const what = { operation: 'confirmLosses' }
  assert.deepEqual(linesOf(api), [
    line(what, { status: 403, code: 'MR_ROLE_FORBIDDEN' }, { ...refused, role: 'read' }),
    ...Array(9).fill(line(what, { status: 401, code: 'MR_TOKEN_INVALID' }, { ...refused, role: null })),
  ])
  await api.clock.advance(REFUSAL_LOG_MS)
  assert.deepEqual(linesOf(api), [{ level: 40, more: 5, msg: 'more changes were refused' }])
})

test('a client that leaves before the answer has no status', async (t) => {
  const api = await start(t)
  const raw = await api.raw()
  const head = `PUT /actors/logging HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TOKEN}\r\n`
  raw.say(`${head}Content-Type: application/json\r\nContent-Length: 11\r\n\r\n{"cou`)
  await until(() => api.server.connectionCount() === 1)
  await new Promise((resolve) => setImmediate(resolve))
  raw.socket.destroy()
  await until(() => api.logged.length > 0)
  assert.deepEqual(linesOf(api), [line({ operation: 'putActors', role: 'logging' }, { status: null })])
})

test('long parameters are cut', async (t) => {
  const api = await start(t)
  await api.ask('POST', `/dead/purge?reason=${'x'.repeat(200)}`, { headers: AUTHORIZED })
  const [{ what } = {}] = linesOf(api)
  assert.deepEqual(what, { operation: 'purgeManyDead', reason: `${'x'.repeat(64)}…` })
})
