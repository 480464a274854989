/** Actors, dead letters and health. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { storedText } from '../../../src/storage/content.ts'
import { atOf, idAt, MIN_ID } from '../../../src/storage/ids.ts'
import { type Api, startApi } from '../../support/public-api.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

const LIFE = {
  node: 'here',
  pid: 7,
  restarts: 0,
  mailbox: { depth: 1, capacity: 20_000, refused: 2 },
  handled: 3,
}
const ACTORS: object[] = [
  { name: 'facade-1', role: 'facade', ...LIFE, state: 'ready', connections: 0 },
  {
    name: 'messages-1',
    role: 'messages',
    ...LIFE,
    state: 'draining',
    waiting: 9,
    oldestAt: '1970-01-01T00:00:00.000Z',
    retrying: 4,
    dead: 6,
    outage: {
      ...{ target: 'the handler', since: '1970-01-01T00:00:00.000Z', why: 'refused' },
      nextProbeAt: '1970-01-01T00:00:01.000Z',
    },
    lastFailure: {
      id: '0'.repeat(26),
      target: 'the handler',
      at: '1970-01-01T00:00:00.000Z',
      error: 'Error: no',
    },
  },
  {
    ...{
      name: 'messages-2',
      role: 'messages',
      ...LIFE,
      state: 'starting',
      waiting: 0,
      oldestAt: null,
      ...{ retrying: 0, dead: 0 },
    },
    ...{ outage: null, lastFailure: null },
  },
]

test('every actor is shown, without its internal address', async (t) => {
  const { ask } = await startApi(t)
  const { status, json } = await ask('GET', '/actors')
  assert.equal(status, 200)
  assert.deepEqual(json, ACTORS)
  const fields = ['name', 'role', 'node', 'pid', 'state', 'restarts', 'mailbox', 'handled', 'connections']
  assert.deepEqual(Object.keys(json[0] ?? {}), fields)
})

test('a role is scaled to the count, and the new list comes back', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const count of [1, 64]) {
    const answer = await ask('PUT', '/actors/messages', { headers: JSON_TYPE, body: `{"count":${count}}` })
    assert.equal(answer.status, 200)
    assert.deepEqual(answer.json, ACTORS)
  }
  assert.deepEqual(facade.scaled, [
    ['messages', 1],
    ['messages', 64],
  ])
})

test('invalid counts are refused', async (t) => {
  const { ask, facade } = await startApi(t)
  const bodies = [
    '{"count":0}',
    '{"count":65}',
    '{"count":1.5}',
    '{"count":"2"}',
    '{}',
    '3',
    '',
    '{"count":1e400}',
  ]
  bodies.push('{"count":1,"count":2}', '{"count":1,"n":1}', '[{"count":1}]', '{"count":')
  for (const body of bodies) {
    const answer = await ask('PUT', '/actors/logging', { headers: JSON_TYPE, body })
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'], body)
  }
  assert.equal((await ask('PUT', '/actors/logging', { body: '{"count":1}' })).status, 415)
  const long = await ask('PUT', '/actors/logging', { headers: JSON_TYPE, body: '{"count":1}'.padEnd(1025) })
  assert.equal(long.status, 413)
  assert.deepEqual(facade.scaled, [])
})

test('a role is restarted, with an empty body', async (t) => {
  const { ask, facade } = await startApi(t)
  assert.equal((await ask('POST', '/actors/logging/restart', { body: '{}' })).status, 400)
  const answer = await ask('POST', '/actors/logging/restart')
  assert.deepEqual([answer.status, answer.json], [200, ACTORS])
  assert.deepEqual(facade.restarted, ['logging'])
})

test('an unknown role is 404', async (t) => {
  const { ask } = await startApi(t)
  for (const role of ['primary', 'Messages', '__proto__']) {
    assert.equal((await ask('POST', `/actors/${role}/restart`)).status, 404)
    const scaled = await ask('PUT', `/actors/${role}`, { headers: JSON_TYPE, body: '{"count":1}' })
    assert.equal(scaled.status, 404)
  }
})

test('a role of another node is 409, naming the way', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.fault = new MailroomError('MR_ROLE_ELSEWHERE', {
    role: 'logging',
    way: 'set LOGGING and compose up',
  })
  const answer = await ask('PUT', '/actors/logging', { headers: JSON_TYPE, body: '{"count":1}' })
  assert.deepEqual([answer.status, answer.json.code], [409, 'MR_ROLE_ELSEWHERE'])
  assert.match(answer.json.detail, /set LOGGING and compose up/)
})

function bury({ facade }: Api, count: number): string[] {
  const ids = Array.from({ length: count }, (_, index) => idAt(1000 * (index + 1)))
  for (const id of ids) {
    facade.deadLetters.push({
      id,
      text: 'poison',
      reason: 'five starts failed',
      attempts: 5,
      firstError: 'a',
      lastError: 'b',
      deadAt: 5000,
    })
  }
  return ids
}

const shown = (id: string) => ({
  id,
  text: 'poison',
  at: atOf(id),
  reason: 'five starts failed',
  attempts: 5,
  firstError: 'a',
  lastError: 'b',
  deadAt: '1970-01-01T00:00:05.000Z',
})

test('dead letters are paged oldest first', async (t) => {
  const api = await startApi(t)
  const ids = bury(api, 3)
  const { json } = await api.ask('GET', '/dead?limit=2')
  assert.deepEqual(json, {
    items: [shown(ids[0]!), shown(ids[1]!)],
    next: `/dead?limit=2&after=${ids[1]}`,
  })
  const last = await api.ask('GET', json.next)
  assert.deepEqual(last.json, { items: [shown(ids[2]!)], next: null })
})

test('a dead letter is shown, replayed and purged by its id', async (t) => {
  const api = await startApi(t)
  const [first, second] = bury(api, 2)
  assert.deepEqual((await api.ask('GET', `/dead/${first}`)).json, shown(first!))
  const replayed = await api.ask('POST', `/dead/${first}/replay`)
  assert.deepEqual([replayed.status, replayed.json], [200, { id: first, state: 'queued' }])
  const purged = await api.ask('DELETE', `/dead/${second}`)
  assert.deepEqual([purged.status, purged.text], [204, ''])
  assert.equal(api.facade.deadLetters.length, 0)
})

test('dead letters are replayed and purged in bulk; next carries the filter', async (t) => {
  const api = await startApi(t)
  const ids = bury(api, 5)
  const source = 'github'
  for (const letter of api.facade.deadLetters.slice(1, 4)) letter.text = storedText({ source, text: 'a' })
  const query = '?limit=3&source=github&reason=five+starts%20'
  const first = await api.ask('POST', `/dead/replay${query}`)
  const next = `/dead/replay?limit=3&after=${ids[2]}&source=github&reason=five+starts+`
  assert.deepEqual([first.status, first.json], [200, { checked: 3, replayed: 2, next }])
  assert.deepEqual((await api.ask('POST', next)).json, { checked: 2, replayed: 1, next: null })
  const purged = await api.ask('POST', '/dead/purge')
  assert.deepEqual([purged.status, purged.json], [200, { checked: 2, purged: 2, next: null }])
  assert.equal(api.facade.deadLetters.length, 0)
})

test('a bulk change with a bad limit, cursor or filter is refused, and nothing is changed', async (t) => {
  const api = await startApi(t)
  bury(api, 1)
  for (const [query, expected] of [
    ['limit=0', /"limit" to be a whole number from 1 to 1000, got "0"/],
    ['after=x', /"after" to be a message id/],
    ['source=', /"source" to be a name of 1 to 64 .*, got ""/],
    ['source=GitHub', /"source" to be a name of 1 to 64 .*, got "GitHub"/],
    [`source=${'s'.repeat(65)}`, /"source"/],
    ['group=', /"group" to be the name of a group of GET \/dead\/groups, 16 hex digits, got ""/],
    ['group=5F4DCC3B5AA765D6', /"group"/],
    ['reason=', /"reason" to be what reasons begin with, of 1 to 1000 characters, got ""/],
    [`reason=${'r'.repeat(1001)}`, /"reason"/],
    ['text=a', /"text" to be one of limit, after, source, group, reason/],
  ] as const) {
    for (const path of ['/dead/replay', '/dead/purge']) {
      const { status, json } = await api.ask('POST', `${path}?${query}`)
      assert.deepEqual([status, json.code], [400, 'MR_REQUEST_INVALID'], query)
      assert.match(json.detail, expected)
    }
  }
  assert.equal(api.facade.deadLetters.length, 1)
})

test('dead letters are counted by group, and a group is replayed or purged as one', async (t) => {
  const api = await startApi(t)
  const ids = bury(api, 5)
  const letters = api.facade.deadLetters
  for (const letter of letters.slice(1))
    letter.lastError = `Error: the chat answered ${letter.deadAt}\n  at x`
  const { status, json } = await api.ask('GET', '/dead/groups')
  assert.equal(status, 200)
  const [first, second] = json.groups.toSorted(
    (a: { count: number }, b: { count: number }) => b.count - a.count,
  )
  assert.deepEqual(
    [first.error, first.count, first.example, second.count],
    ['Error: the chat answered #', 4, ids[1], 1],
  )
  assert.deepEqual([json.counted, json.others, json.next], [5, 0, null])
  assert.equal(first.newestAt, new Date(letters.at(-1)!.deadAt).toISOString())
  api.facade.nextGroups = { lane: 3, after: ids[2]! }
  const more = await api.ask('GET', `/dead/groups?lane=2&after=${MIN_ID}`)
  assert.equal(more.json.next, `/dead/groups?lane=3&after=${ids[2]}`)
  assert.equal((await api.ask('GET', '/dead/groups?lane=16')).status, 400)
  const replayed = await api.ask('POST', `/dead/replay?limit=3&group=${first.group}`)
  const next = `/dead/replay?limit=3&after=${ids[2]}&group=${first.group}`
  assert.deepEqual(replayed.json, { checked: 3, replayed: 2, next })
  const purged = await api.ask('POST', `/dead/purge?group=${second.group}`)
  assert.deepEqual([purged.json.purged, letters.length], [1, 2])
})

test('a path in the table has the methods of its own rows: /dead/groups is no /dead/{id}', async (t) => {
  const { ask } = await startApi(t)
  for (const [method, path, allow] of [
    ['DELETE', '/dead/groups', 'HEAD, GET'],
    ['GET', '/dead/replay', 'POST'],
    ['DELETE', '/dead/purge', 'POST'],
  ] as const) {
    const { status, headers, json } = await ask(method, path)
    assert.deepEqual([status, headers['allow'], json.code], [405, allow, 'MR_METHOD_UNSUPPORTED'], path)
  }
})

test('an unknown dead letter is 404', async (t) => {
  const { ask } = await startApi(t)
  for (const [method, path] of [
    ['GET', `/dead/${MIN_ID}`],
    ['POST', `/dead/${MIN_ID}/replay`],
    ['DELETE', `/dead/${MIN_ID}`],
  ] as const) {
    assert.equal((await ask(method, path)).status, 404)
  }
  assert.equal((await ask('DELETE', '/dead/1')).status, 400)
})

test('livez answers while the process is up, readyz says what is missing, what is degraded, and warns', async (t) => {
  const { ask, facade } = await startApi(t)
  assert.deepEqual((await ask('GET', '/livez')).json, { status: 'ok' })
  const ready = await ask('GET', '/readyz')
  assert.deepEqual([ready.status, ready.json], [200, { status: 'ready', missing: [] }])
  facade.warned.push('the clock of node b is 4.0 s ahead')
  const warned = await ask('GET', '/readyz')
  assert.equal(warned.status, 200)
  assert.deepEqual(warned.json, {
    status: 'ready',
    missing: [],
    warnings: ['the clock of node b is 4.0 s ahead'],
  })
  facade.warned = []
  facade.degradedThings = ['logging-2: restarting']
  const degraded = await ask('GET', '/readyz')
  assert.deepEqual(
    [degraded.status, degraded.json],
    [200, { status: 'ready', missing: [], degraded: ['logging-2: restarting'] }],
  )
  facade.degradedThings = []
  facade.missingThings.push('a ready logging actor')
  const unready = await ask('GET', '/readyz')
  assert.equal(unready.status, 503)
  assert.deepEqual(unready.json, { status: 'unready', missing: ['a ready logging actor'] })
})

test('delivery is paused and resumed; what is no such body is refused by name', async (t) => {
  const { ask, facade } = await startApi(t)
  const put = (body: string) => ask('PUT', '/delivery', { headers: JSON_TYPE, body })
  for (const paused of [true, true, false]) {
    const answer = await put(JSON.stringify({ paused }))
    assert.deepEqual([answer.status, answer.json, facade.paused], [200, { paused }, paused])
    assert.deepEqual((await ask('GET', '/delivery')).json, { paused })
  }
  for (const body of [
    '',
    '{}',
    '{"paused":1}',
    '{"paused":true,"paused":false}',
    '{"paused":true,"a":1}',
    '[]',
  ]) {
    const { status, json } = await put(body)
    assert.deepEqual([status, json.code], [400, 'MR_REQUEST_INVALID'], body)
  }
  facade.fault = new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'away' })
  assert.equal((await put('{"paused":true}')).status, 503)
})

test('a delivered message is delivered again; what keeps it from that is told', async (t) => {
  const { ask, facade } = await startApi(t)
  const { json } = await ask('POST', '/messages', { headers: JSON_TYPE, body: '{"text":"a"}' })
  const again = () => ask('POST', `/messages/${json.id}/redeliver`)
  const done = await again()
  assert.deepEqual([done.status, done.json], [200, { id: json.id, state: 'delivered' }])
  assert.deepEqual(facade.redelivered, [json.id])
  assert.equal((await ask('POST', `/messages/${MIN_ID}/redeliver`)).status, 404)
  assert.equal((await ask('POST', '/messages/x/redeliver')).status, 400)
  for (const [error, status, outcome] of [
    [new MailroomError('MR_REDELIVERY_REFUSED', { id: json.id, reason: 'it is queued' }), 409, 'none'],
    [new MailroomError('MR_REDELIVERY_FAILED', { id: json.id, error: 'no' }), 502, 'unknown'],
  ] as const) {
    facade.fault = error
    const failed = await again()
    assert.deepEqual(
      [failed.status, failed.json.outcome, failed.json.detail],
      [status, outcome, error.message],
    )
  }
})
