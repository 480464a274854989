/** Who may call what, over every route of the table. */
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import test from 'node:test'
import { ROUTES, type Route } from '../../src/http/routes/table.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { startApi, until } from '../support/public-api.ts'

const routes = Object.entries(ROUTES) as [string, Route][]
const isClosed = ({ role }: Route) => role !== 'open' && role !== 'source'
const concrete = ({ path }: Route) => path.replace('{role}', 'logging').replace(/\{\w+\}/, MIN_ID)
const callOf = ({ method, types }: Route) => ({
  method,
  body: types.length > 0 ? '{"text":"a","count":1}' : null,
  headers: types.length > 0 ? { 'content-type': 'application/json' } : {},
})

for (const [operation, route] of routes) {
  test(`${operation} is ${isClosed(route) ? 'closed without the right token' : 'open'}`, async (t) => {
    const { ask, facade } = await startApi(t, { token: 'open-sesame' })
    const { method, headers, body } = callOf(route)
    const given: [Record<string, string>, boolean][] = [
      [{}, false],
      [{ authorization: 'Bearer wrong' }, false],
      [{ authorization: 'Bearer open-sesam' }, false],
      [{ authorization: 'Bearer open-sesame2' }, false],
      [{ authorization: 'Basic open-sesame' }, false],
      [{ authorization: 'open-sesame' }, false],
      [{ authorization: 'Bearer open-sesame' }, true],
      [{ authorization: 'bearer open-sesame' }, true],
    ]
    for (const [authorization, isRight] of given) {
      const answer = await ask(method, concrete(route), { headers: { ...headers, ...authorization }, body })
      if (isRight || !isClosed(route)) {
        assert.notEqual(answer.status, 401)
        continue
      }
      assert.equal(answer.status, 401)
      assert.equal(answer.headers['www-authenticate'], 'Bearer')
      assert.equal(answer.json.code, 'MR_TOKEN_INVALID')
      assert.equal(facade.messages.length + facade.scaled.length + facade.restarted.length, 0)
    }
  })
}

test('a path that is not a route needs the token too', async (t) => {
  const { ask } = await startApi(t, { token: 'sesame' })
  assert.equal((await ask('GET', '/nothing')).status, 401)
  assert.equal((await ask('GET', '/nothing', { headers: { authorization: 'Bearer sesame' } })).status, 404)
})

test('without a token everything on loopback is open', async (t) => {
  const { ask } = await startApi(t)
  for (const [, route] of routes) {
    const { method, headers, body } = callOf(route)
    const { status } = await ask(method, concrete(route), { headers, body })
    assert.ok(status !== 401 && status !== 403 && status < 500, `${method} ${route.path}: ${status}`)
  }
})

test('a page of another site may not call without a token', async (t) => {
  const { ask, facade } = await startApi(t)
  const headers = { 'content-type': 'text/plain', 'sec-fetch-site': 'cross-site' }
  assert.equal((await ask('POST', '/messages', { headers, body: 'a' })).status, 403)
  assert.equal(facade.messages.length, 0)
  for (const site of ['cross-site', 'same-site']) {
    const answer = await ask('POST', '/messages', {
      headers: { ...headers, 'sec-fetch-site': site },
      body: 'a',
    })
    assert.deepEqual([answer.status, answer.json.code], [403, 'MR_FORBIDDEN'])
  }
  for (const site of ['same-origin', 'none']) {
    const answer = await ask('POST', '/messages', {
      headers: { ...headers, 'sec-fetch-site': site },
      body: 'a',
    })
    assert.equal(answer.status, 201)
  }
})

test('a page of another site may call with the token', async (t) => {
  const { ask } = await startApi(t, { token: 'sesame' })
  const headers = { authorization: 'Bearer sesame', 'sec-fetch-site': 'cross-site' }
  assert.equal((await ask('GET', '/actors', { headers })).status, 200)
})

const HOSTS: [host: string, status: number][] = [
  ['localhost', 200],
  ['localhost:8080', 200],
  ['LOCALHOST', 200],
  ['mail.localhost:1', 200],
  ['127.0.0.1:8080', 200],
  ['[::1]:8080', 200],
  ['192.168.1.7', 200],
  ['evil.example', 403],
  ['localhost.evil.example:8080', 403],
  ['127.0.0.1.evil.example', 403],
  ['', 403],
  ['a b', 400],
  ['user@localhost', 400],
]

for (const [host, status] of HOSTS) {
  test(`on loopback without a token the Host "${host}" is answered ${status}`, async (t) => {
    const api = await startApi(t)
    const raw = await api.raw()
    raw.say(`GET /actors HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await until(() => raw.heard.includes('\r\n\r\n'))
    assert.match(raw.heard, new RegExp(`^HTTP/1.1 ${status} `))
    assert.equal(raw.heard.includes('MR_HOST_FORBIDDEN'), status === 403)
  })
}

test('with a token any Host is accepted', async (t) => {
  const { ask } = await startApi(t, { token: 'sesame' })
  const headers = { authorization: 'Bearer sesame', host: 'mail.example' }
  assert.equal((await ask('GET', '/actors', { headers })).status, 200)
})

const ALLOWED: [host: string, status: number][] = [
  ['mail.example', 200],
  ['MAIL.example.:8443', 200],
  ['a.b.example', 200],
  ['127.0.0.1', 200],
  [hostname(), 200],
  ['b.example', 403],
  ['ab.example', 403],
  ['mail.example.evil.example', 403],
]

for (const [host, status] of ALLOWED) {
  test(`with --allowed-hosts mail.example,*.b.example the Host "${host}" is answered ${status}, token or not`, async (t) => {
    for (const token of [undefined, 'sesame']) {
      const { ask } = await startApi(t, {
        host: '127.0.0.1',
        allowedHosts: ['mail.example', '*.b.example'],
        ...(token !== undefined && { token }),
      })
      const headers = { host, ...(token !== undefined && { authorization: `Bearer ${token}` }) }
      assert.equal((await ask('GET', '/actors', { headers })).status, status)
    }
  })
}

test('with --allowed-hosts * any Host is accepted', async (t) => {
  const { ask } = await startApi(t, { allowedHosts: ['*'] })
  assert.equal((await ask('GET', '/actors', { headers: { host: 'mail.example' } })).status, 200)
})

test('the health of a node is answered whatever the Host, the Origin and the site of the page', async (t) => {
  const api = await startApi(t)
  for (const path of ['/livez', '/readyz', 'http://mail.example/livez', '/%6Civez']) {
    for (const headers of [
      'Host: mailroom',
      'Host:',
      'X: a',
      'Host: a\r\nOrigin: http://b',
      'Host: a\r\nSec-Fetch-Site: cross-site',
    ]) {
      const raw = await api.raw()
      raw.say(`GET ${path} HTTP/1.1\r\n${headers}\r\n\r\n`)
      await until(() => raw.heard.includes('\r\n\r\n'))
      assert.match(raw.heard, /^HTTP\/1.1 200 /, `${path} ${headers}`)
    }
  }
})

const ORIGINS: [origin: string, host: string, status: number][] = [
  ['http://localhost:8080', 'localhost:8080', 200],
  ['HTTP://LOCALHOST', 'localhost', 200],
  ['http://localhost', 'localhost:80', 200],
  ['https://localhost', 'localhost', 403],
  ['http://[::1]:8080', '[::1]:8080', 200],
  ['http://localhost:3000', 'localhost:8080', 403],
  ['http://localhost', 'localhost:8080', 403],
  ['https://localhost', 'localhost:80', 403],
  ['http://127.0.0.1:8080', 'localhost:8080', 403],
  ['http://evil.example', 'localhost:8080', 403],
  ['http://localhost:8080.evil.example', 'localhost:8080', 403],
  ['http://localhost:8080/', 'localhost:8080', 403],
  ['null', 'localhost:8080', 403],
  ['', 'localhost:8080', 403],
  ['file://', 'localhost:8080', 403],
  ['chrome-extension://localhost:8080', 'localhost:8080', 403],
]

for (const [origin, host, status] of ORIGINS) {
  test(`without a token the Origin "${origin}" with the Host "${host}" is answered ${status}`, async (t) => {
    const { ask } = await startApi(t)
    const answer = await ask('GET', '/actors', { headers: { origin, host } })
    assert.deepEqual([answer.status, answer.json.code], [status, status === 200 ? undefined : 'MR_FORBIDDEN'])
  })
}

test('a target that is a whole URL names the host', async (t) => {
  const api = await startApi(t)
  const statuses = async (target: string, host: string) => {
    const raw = await api.raw()
    raw.say(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await until(() => raw.heard.includes('\r\n\r\n'))
    return raw.heard.slice(9, 12)
  }
  assert.equal(await statuses('http://localhost:1/actors', 'evil.example'), '200')
  assert.equal(await statuses('HTTP://LOCALHOST/%61ctors?', 'localhost'), '200')
  assert.equal(await statuses('http://evil.example/actors', 'localhost'), '403')
  assert.equal(await statuses('http://user@localhost/actors', 'localhost'), '400')
  assert.equal(await statuses('http://localhost', 'localhost'), '404')
  assert.equal(await statuses('ftp://localhost/actors', 'localhost'), '400')
})

test('the router takes the routes of the table, and nothing else', async (t) => {
  const { ask } = await startApi(t)
  const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']
  for (const path of new Set(routes.map(([, route]) => route.path))) {
    // `/dead/replay` is no `/dead/{id}`: it takes the methods of its own rows only.
    const known = routes.filter(([, route]) => route.path === path).map(([, { method }]) => method as string)
    const allowed = [...known, ...(known.includes('GET') ? ['HEAD'] : [])].sort()
    const target = concrete({ path } as Route)
    for (const method of methods.filter((one) => !known.includes(one))) {
      const answer = await ask(method, target)
      assert.deepEqual([answer.status, answer.json.code], [405, 'MR_METHOD_UNSUPPORTED'])
      assert.deepEqual(String(answer.headers['allow']).split(', ').sort(), allowed)
    }
  }
})

test('HEAD is answered where GET is, without a body', async (t) => {
  const { ask } = await startApi(t)
  for (const [, route] of routes.filter(([, { method }]) => method === 'GET')) {
    const get = await ask('GET', concrete(route))
    const head = await ask('HEAD', concrete(route))
    assert.deepEqual([head.status, head.text], [get.status, ''])
    assert.equal(head.headers['content-type'], get.headers['content-type'])
  }
})
