/** `/session`: a browser signs in with a token, and has a cookie instead from then on. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { SESSION_MS, SIGN_IN_WINDOW_MS } from '../../src/runtime/timings.ts'
import { type Api, startApi } from '../support/public-api.ts'

const TOKEN = 'the-token-of-all-32-characters-x'
const READ_TOKEN = 'the-token-of-readers-32-charact.'
const JSON_TYPE = { 'content-type': 'application/json' }

const signIn = (api: Api, token: unknown, headers: Record<string, string> = {}) =>
  api.ask('POST', '/session', { headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify({ token }) })
const cookieOf = (answer: { headers: Record<string, string | string[] | undefined> }) =>
  String(answer.headers['set-cookie']).split(';')[0]!
const sessionOf = async (api: Api, headers: Record<string, string>) =>
  (await api.ask('GET', '/session', { headers })).json
const NOBODY = { role: null, expiresAt: null }

test('a token gives a cookie for twelve hours, which says the role and is no token', async (t) => {
  const api = await startApi(t, { token: TOKEN, readToken: READ_TOKEN })
  const answer = await signIn(api, READ_TOKEN)
  const expiresAt = new Date(api.clock.now() + 12 * 3_600_000).toISOString()
  assert.deepEqual([answer.status, answer.json], [200, { role: 'read', expiresAt }])
  const setCookie = String(answer.headers['set-cookie'])
  assert.match(
    setCookie,
    /^mailroom=read\.\d+\.[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
  )
  const cookie = cookieOf(answer)
  assert.deepEqual(await sessionOf(api, { cookie }), { role: 'read', expiresAt })
  assert.equal((await api.ask('GET', '/log', { headers: { cookie } })).status, 200)
})

test('the cookie is for https only where the browser speaks https', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  const isSecure = async (headers: Record<string, string>) => {
    const answer = await signIn(api, TOKEN, headers)
    assert.equal(answer.status, 200)
    return /; Secure$/.test(String(answer.headers['set-cookie']))
  }
  assert.equal(await isSecure({}), false)
  assert.equal(await isSecure({ 'x-forwarded-proto': 'http' }), false)
  assert.equal(await isSecure({ 'x-forwarded-proto': 'https' }), true)
  // The proxy says nothing, but the browser does.
  assert.equal(await isSecure({ 'sec-fetch-site': 'same-origin', origin: 'https://mail.example' }), true)
})

test('a session ends after twelve hours', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  const headers = { cookie: cookieOf(await signIn(api, TOKEN)) }
  await api.clock.advance(SESSION_MS - 1)
  assert.equal((await api.ask('GET', '/log', { headers })).status, 200)
  await api.clock.advance(1)
  assert.equal((await api.ask('GET', '/log', { headers })).status, 401)
  assert.deepEqual(await sessionOf(api, headers), NOBODY)
})

test('a cookie that is not exactly one that was given is none', async (t) => {
  const api = await startApi(t, { token: TOKEN, readToken: READ_TOKEN })
  const cookie = cookieOf(await signIn(api, READ_TOKEN))
  const [, claim = '', signature = ''] = /^mailroom=(.+)\.(.+)$/.exec(cookie)!
  const [role = '', expiresAt = ''] = claim.split('.')
  for (const wrong of [
    'mailroom',
    'mailroom=',
    'mailroom=x',
    `mailroom=${READ_TOKEN}`,
    `mailroom=all.${expiresAt}.${signature}`,
    `mailroom=post.${expiresAt}.${signature}`,
    `mailroom=constructor.${expiresAt}.${signature}`,
    `mailroom=${role}.${Number(expiresAt) + 1}.${signature}`,
    `mailroom=${role}.0${expiresAt}.${signature}`,
    `mailroom=${claim}.${signature.toLowerCase()}`,
    `mailroom=${claim}.${signature}=`,
    `mailroom="${claim}.${signature}"`,
    `mailroom=${claim}.${'A'.repeat(43)}`,
    `Mailroom=${claim}.${signature}`,
    `xmailroom=${claim}.${signature}`,
    `${cookie}; ${cookie}`,
    `mailroom=x; ${cookie}`,
  ]) {
    assert.deepEqual(await sessionOf(api, { cookie: wrong }), NOBODY, wrong)
    assert.equal((await api.ask('GET', '/log', { headers: { cookie: wrong } })).status, 401, wrong)
  }
  assert.equal((await sessionOf(api, { cookie: `a=b;${cookie} ;c` })).role, 'read')
})

test('a cookie is right wherever its token is, and nowhere else', async (t) => {
  const api = await startApi(t, { token: TOKEN, readToken: READ_TOKEN })
  const [all, read] = [cookieOf(await signIn(api, TOKEN)), cookieOf(await signIn(api, READ_TOKEN))]
  const other = await startApi(t, { token: TOKEN, readToken: 'the-token-of-readers-was-changed' })
  assert.equal((await sessionOf(other, { cookie: all })).role, 'all')
  assert.deepEqual(await sessionOf(other, { cookie: read }), NOBODY)
  const without = await startApi(t, { token: TOKEN })
  assert.deepEqual(await sessionOf(without, { cookie: read }), NOBODY)
  // What was the token of all is that of readers now.
  const swapped = await startApi(t, { token: READ_TOKEN, readToken: TOKEN })
  for (const cookie of [all, read]) assert.deepEqual(await sessionOf(swapped, { cookie }), NOBODY)
})

test('GET /session tells the role of whoever asks', async (t) => {
  const api = await startApi(t, { token: TOKEN, readToken: READ_TOKEN })
  assert.deepEqual(await sessionOf(api, {}), NOBODY)
  assert.deepEqual(await sessionOf(api, { authorization: 'Bearer x' }), NOBODY)
  const byHeader = { role: 'read', expiresAt: null }
  assert.deepEqual(await sessionOf(api, { authorization: `Bearer ${READ_TOKEN}` }), byHeader)
  const cookie = cookieOf(await signIn(api, TOKEN))
  assert.deepEqual(await sessionOf(api, { authorization: `Bearer ${READ_TOKEN}`, cookie }), byHeader)
  assert.deepEqual((await sessionOf(api, { cookie, 'sec-fetch-site': 'same-site' })).role, null)
})

test('without tokens everybody has the role all, and no cookie is needed', async (t) => {
  const api = await startApi(t)
  const all = { role: 'all', expiresAt: null }
  assert.deepEqual(await sessionOf(api, {}), all)
  const answer = await signIn(api, 'whatever')
  assert.deepEqual([answer.status, answer.json, answer.headers['set-cookie']], [200, all, undefined])
  assert.equal((await sessionOf(api, { 'sec-fetch-site': 'cross-site' })).role, null)
})

test('DELETE /session makes the browser forget the cookie', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  const answer = await api.ask('DELETE', '/session')
  assert.equal(answer.status, 204)
  const setCookie = String(answer.headers['set-cookie'])
  assert.equal(setCookie, 'mailroom=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict')
})

test('ten sign-ins a minute are taken, right ones and wrong ones', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  for (let count = 0; count < 9; count++) {
    const answer = await signIn(api, 'wrong')
    assert.deepEqual([answer.status, answer.json.code], [401, 'MR_TOKEN_INVALID'])
    assert.equal(answer.headers['set-cookie'], undefined)
    await api.clock.advance(1000)
  }
  assert.equal((await signIn(api, TOKEN)).status, 200)
  const refused = await signIn(api, TOKEN)
  assert.deepEqual([refused.status, refused.json.code], [429, 'MR_SIGN_INS_LIMITED'])
  assert.equal(refused.headers['retry-after'], String(SIGN_IN_WINDOW_MS / 1000 - 9))
  // The header needs no sign-in.
  assert.equal((await api.ask('GET', '/log', { headers: { authorization: `Bearer ${TOKEN}` } })).status, 200)
  await api.clock.advance(SIGN_IN_WINDOW_MS - 9000)
  assert.equal((await signIn(api, TOKEN)).status, 200)
  assert.equal((await signIn(api, TOKEN)).status, 429)
})

test('a body that is no token is refused, and is no sign-in', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  const bodies = [
    ...['', '{', '[]', '"x"', '{}', '{"token":1}', '{"token":""}', `{"token":"${'x'.repeat(513)}"}`],
    ...[`{"token":"${TOKEN}","role":"all"}`, `{"token":"x","token":"${TOKEN}"}`],
  ]
  for (const body of bodies) {
    const answer = await api.ask('POST', '/session', { headers: JSON_TYPE, body })
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'], body)
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  assert.equal((await api.ask('POST', '/session', { headers: form, body: `token=${TOKEN}` })).status, 415)
  const large = await api.ask('POST', '/session', { headers: JSON_TYPE, body: `"${'x'.repeat(5000)}"` })
  assert.equal(large.status, 413)
  assert.equal((await signIn(api, TOKEN)).status, 200)
})

test('a page of another origin signs nobody in or out', async (t) => {
  const api = await startApi(t, { token: TOKEN })
  const foreign = { 'sec-fetch-site': 'cross-site' }
  const answers = [
    await signIn(api, TOKEN, foreign),
    await api.ask('DELETE', '/session', { headers: foreign }),
  ]
  for (const answer of answers) {
    assert.deepEqual([answer.status, answer.json.code], [403, 'MR_FORBIDDEN'])
    assert.equal(answer.headers['set-cookie'], undefined)
  }
})
