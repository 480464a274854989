/** Who may do what: every route of the table, with every credential, from every origin, as the table says. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { ROUTES, type Route } from '../../src/http/routes/table.ts'
import type { CallerRole } from '../../src/http/tokens.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { codesIn, pageOf, rowsOf } from '../support/markdown.ts'
import { type Api, startApi } from '../support/public-api.ts'

const TOKENS: Record<CallerRole, string> = {
  all: 'the-token-of-all-32-characters-x',
  read: 'the-token-of-readers-32-charact.',
  post: 'the-token-of-posters-32-charact.',
}
const ALL_TOKENS = { token: TOKENS.all, readToken: TOKENS.read, postToken: TOKENS.post }

/** Role of a route -> the roles of its callers. Undefined: everybody. */
const MAY: Record<Route['role'], readonly CallerRole[] | undefined> = {
  open: undefined,
  source: undefined,
  read: ['read', 'all'],
  post: ['post', 'all'],
  all: ['all'],
}

interface Credential {
  name: string
  headers: Record<string, string>
  role: CallerRole | null
  by: 'header' | 'cookie'
}

interface Origin {
  name: string
  headers: Record<string, string>
  /** Of a page of another origin, as the headers show. */
  isForeign?: true
  /** Without the header `X-Mailroom`. */
  isBare?: true
}

/** `PORT` stands for the port of the API. */
const ORIGINS: Origin[] = [
  { name: 'no page', headers: {} },
  { name: 'its own page', headers: { 'sec-fetch-site': 'same-origin' } },
  { name: 'an address that was typed', headers: { 'sec-fetch-site': 'none' } },
  { name: 'its own page in an old browser', headers: { origin: 'http://127.0.0.1:PORT' } },
  { name: 'its own page without X-Mailroom', headers: { 'sec-fetch-site': 'same-origin' }, isBare: true },
  { name: 'no page without X-Mailroom', headers: {}, isBare: true },
  { name: 'a page of another port', headers: { 'sec-fetch-site': 'same-site' }, isForeign: true },
  { name: 'a page of another site', headers: { 'sec-fetch-site': 'cross-site' }, isForeign: true },
  {
    name: 'a page of another site that gives itself out as ours',
    headers: { 'sec-fetch-site': 'cross-site', origin: 'http://127.0.0.1:PORT' },
    isForeign: true,
  },
  ...[
    'http://127.0.0.1:1',
    'http://localhost:PORT',
    'https://127.0.0.1:PORT',
    'http://evil.example',
    'null',
  ].map((origin): Origin => ({ name: `${origin} in an old browser`, headers: { origin }, isForeign: true })),
]

/** What the table says: the code of the refusal; undefined when the route answers. */
function verdictOf(
  route: Route,
  { role, by }: Credential,
  { isForeign, isBare }: Origin,
): string | undefined {
  const isChange = route.method !== 'GET' && route.method !== 'OPTIONS'
  const may = MAY[route.role]
  if (route.role === 'open' && isChange && isForeign) return 'MR_FORBIDDEN'
  if (may === undefined) return undefined
  if (role === null) return 'MR_TOKEN_INVALID'
  if (by === 'cookie' && (isForeign || (isChange && isBare))) return 'MR_FORBIDDEN'
  return may.includes(role) ? undefined : 'MR_ROLE_FORBIDDEN'
}

async function credentialsOf(api: Api): Promise<Credential[]> {
  const roles = Object.keys(TOKENS) as CallerRole[]
  const cookies = await Promise.all(roles.map((role) => signIn(api, TOKENS[role])))
  const last = cookies[0]!.at(-1)
  const tampered = cookies[0]!.slice(0, -1) + (last === 'A' ? 'E' : 'A')
  return [
    { name: 'nothing', headers: {}, role: null, by: 'header' },
    { name: 'a wrong token', headers: { authorization: 'Bearer wrong' }, role: null, by: 'header' },
    { name: 'a wrong cookie', headers: { cookie: tampered }, role: null, by: 'cookie' },
    {
      name: 'a wrong token and a right cookie',
      headers: { authorization: 'Bearer wrong', cookie: cookies[0]! },
      ...{ role: null, by: 'header' },
    },
    {
      name: 'the token of read and the cookie of all',
      headers: { authorization: `Bearer ${TOKENS.read}`, cookie: cookies[0]! },
      ...{ role: 'read', by: 'header' },
    },
    ...roles.map(
      (role): Credential => ({
        name: `the token of ${role}`,
        headers: { authorization: `Bearer ${TOKENS[role]}` },
        ...{ role, by: 'header' },
      }),
    ),
    ...roles.map(
      (role, index): Credential => ({
        name: `the cookie of ${role}`,
        headers: { cookie: `theme=dark; ${cookies[index]}` },
        ...{ role, by: 'cookie' },
      }),
    ),
  ]
}

async function signIn(api: Api, token: string): Promise<string> {
  const headers = { 'content-type': 'application/json' }
  const answer = await api.ask('POST', '/session', { headers, body: JSON.stringify({ token }) })
  assert.equal(answer.status, 200)
  return String(answer.headers['set-cookie']).split(';')[0]!
}

/** Asks without waiting for the end of an answer that may have none. @returns Its code; undefined without one. */
async function codeOf(api: Api, route: Route, headers: Record<string, string>): Promise<string | undefined> {
  const isTyped = route.types.length > 0
  const {
    statusCode,
    headers: answered,
    body,
  } = await api.client.request({
    method: route.method as 'GET',
    path: route.path.replace('{role}', 'logging').replace(/\{\w+\}/, MIN_ID),
    headers: { ...headers, ...(isTyped && { 'content-type': 'application/json' }) },
    body: isTyped ? '{"text":"a","count":1}' : null,
  })
  const isProblem = answered['content-type'] === 'application/problem+json'
  let code: string | undefined
  if (isProblem) code = ((await body.json()) as { code: string }).code
  else if (answered['content-type'] === 'text/event-stream') body.on('error', () => {}).destroy()
  else await body.text()
  assert.equal(statusCode === 401, code === 'MR_TOKEN_INVALID')
  assert.equal(statusCode === 403, code === 'MR_FORBIDDEN' || code === 'MR_ROLE_FORBIDDEN')
  if (statusCode === 401) assert.equal(answered['www-authenticate'], 'Bearer')
  return [401, 403].includes(statusCode) ? code : undefined
}

function headersOf(api: Api, { headers }: Credential, origin: Origin): Record<string, string> {
  const from = Object.entries(origin.headers).map(([name, value]) => [
    name,
    value.replace('PORT', `${api.server.port}`),
  ])
  return { ...headers, ...Object.fromEntries(from), ...(!origin.isBare && { 'x-mailroom': '1' }) }
}

async function checkAll(t: TestContext, api: Api, credentials: Credential[], verdict: typeof verdictOf) {
  for (const [operation, route] of Object.entries(ROUTES) as [string, Route][]) {
    await t.test(`${operation}, which is ${route.role}`, async () => {
      for (const credential of credentials) {
        for (const origin of ORIGINS) {
          const code = await codeOf(api, route, headersOf(api, credential, origin))
          assert.equal(code, verdict(route, credential, origin), `${credential.name}, ${origin.name}`)
        }
      }
    })
  }
}

test('every route is answered to whom the table says', async (t) => {
  const api = await startApi(t, ALL_TOKENS)
  await checkAll(t, api, await credentialsOf(api), verdictOf)
})

test('HEAD is answered to whom GET is', async (t) => {
  const api = await startApi(t, ALL_TOKENS)
  const reads = (Object.values(ROUTES) as Route[]).filter(({ method }) => method === 'GET')
  for (const credential of await credentialsOf(api)) {
    for (const origin of ORIGINS.filter(({ isBare, isForeign }) => isBare || isForeign)) {
      for (const route of [
        reads.find(({ role }) => role === 'open')!,
        reads.find(({ role }) => role === 'read')!,
      ]) {
        const { status } = await api.ask('HEAD', route.path, { headers: headersOf(api, credential, origin) })
        const code = verdictOf(route, credential, origin)
        const expected = code === undefined ? undefined : code === 'MR_TOKEN_INVALID' ? 401 : 403
        const refused = [401, 403].find((each) => each === status)
        assert.equal(refused, expected, `${route.path}, ${credential.name}, ${origin.name}`)
      }
    }
  }
})

test('without tokens every route is answered to all but pages of other origins', async (t) => {
  const api = await startApi(t)
  const anybody: Credential[] = [
    { name: 'nothing', headers: {}, role: 'all', by: 'cookie' },
    { name: 'some token', headers: { authorization: 'Bearer x' }, role: 'all', by: 'cookie' },
  ]
  await checkAll(t, api, anybody, (route, _, { isForeign }) => {
    const isOpenRead = route.role === 'open' && route.method === 'GET'
    return isForeign && !isOpenRead && route.role !== 'source' ? 'MR_FORBIDDEN' : undefined
  })
})

test('docs/operations.md names the paths that are open', () => {
  const open = Object.values<Route>(ROUTES).filter(({ role }) => role === 'open')
  const [row] = rowsOf(pageOf('docs/operations.md'), 'Who may do what')
  assert.deepEqual(codesIn(row![0]!).sort(), [...new Set(open.map(({ path }) => path))].sort())
})

test('a route without a role does not compile', () => {
  const route = { method: 'GET', path: '/new', query: [], types: [] } as const
  // @ts-expect-error it has no role
  const asRoute: Route = route
  assert.equal(asRoute.role, undefined)
})

test('what is refused changes nothing', async (t) => {
  const { ask, facade } = await startApi(t, ALL_TOKENS)
  const headers = { authorization: `Bearer ${TOKENS.read}`, 'content-type': 'application/json' }
  assert.equal((await ask('POST', '/messages', { headers, body: '{"text":"a"}' })).status, 403)
  assert.equal((await ask('PUT', '/actors/logging', { headers, body: '{"count":2}' })).status, 403)
  assert.equal(facade.messages.length + facade.scaled.length, 0)
})

test('a wrong role is told which role is needed, and which one it has', async (t) => {
  const { ask } = await startApi(t, ALL_TOKENS)
  const detail = async (method: string, path: string, role: CallerRole) =>
    (await ask(method, path, { headers: { authorization: `Bearer ${TOKENS[role]}` } })).json.detail
  assert.equal(
    await detail('GET', '/log', 'post'),
    'This call needs the role read, or all; its caller has the role post',
  )
  assert.equal(
    await detail('POST', '/messages', 'read'),
    'This call needs the role post, or all; its caller has the role read',
  )
  assert.equal(
    await detail('DELETE', `/dead/${MIN_ID}`, 'read'),
    'This call needs the role all; its caller has the role read',
  )
})

test('which paths there are is told to whoever has a token, and to nobody else', async (t) => {
  const { ask } = await startApi(t, ALL_TOKENS)
  const calls = [
    ['GET', '/nothing', 404],
    ['PUT', '/messages', 405],
    ['GET', '/actors/logging', 405],
    ['GET', '/actors/', 404],
    ['POST', '//loss/confirm', 404],
  ] as const
  for (const [method, path, status] of calls) {
    assert.equal((await ask(method, path)).status, 401, path)
    for (const token of Object.values(TOKENS)) {
      const answer = await ask(method, path, { headers: { authorization: `Bearer ${token}` } })
      assert.equal(answer.status, status, path)
    }
  }
})

test('behind a proxy that ends TLS the scheme is the browser’s, as the proxy says', async (t) => {
  const api = await startApi(t, ALL_TOKENS)
  const cookie = await signIn(api, TOKENS.read)
  const status = async (origin: string, proto?: string) => {
    const headers = {
      cookie,
      host: 'mail.example',
      origin,
      ...(proto !== undefined && { 'x-forwarded-proto': proto }),
    }
    return (await api.ask('GET', '/actors', { headers })).status
  }
  assert.equal(await status('https://mail.example', 'https'), 200)
  assert.equal(await status('https://mail.example', 'https, http'), 200)
  assert.equal(await status('https://mail.example:443', 'HTTPS'), 200)
  assert.equal(await status('http://mail.example', 'http'), 200)
  assert.equal(await status('http://mail.example'), 200)
  assert.equal(await status('http://mail.example', 'https'), 403)
  assert.equal(await status('https://mail.example', 'http'), 403)
  assert.equal(await status('https://mail.example'), 403)
  assert.equal(await status('https://mail.example:8443', 'https'), 403)
})
