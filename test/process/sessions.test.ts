/** Sessions of the real program: right at every facade, node and start with the same token, and nowhere else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { System } from '../support/system.ts'

const TOKEN = 'the-token-of-all-32-characters-x'
const READ_TOKEN = 'the-token-of-readers-32-charact.'
const OTHER_TOKEN = 'another-token-of-32-characters-.'
const TOKENS = ['--token', TOKEN, '--read-token', READ_TOKEN]

async function signIn({ url }: System, token: string): Promise<string> {
  const body = JSON.stringify({ token })
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${url}/session`, { method: 'POST', headers, body })
  assert.equal(response.status, 200)
  return response.headers.get('set-cookie')!.split(';')[0]!
}

const roleOf = async ({ url }: System, cookie: string) => {
  const response = await fetch(`${url}/session`, { headers: { cookie, connection: 'close' } })
  return ((await response.json()) as { role: string | null }).role
}
const change = async ({ url }: System, cookie: string, path: string) =>
  (await fetch(url + path, { method: 'POST', headers: { cookie, 'x-mailroom': '1' } })).status

test('a session is right at every facade and node and after a restart, until its token changes', async (t) => {
  const system = await System.start(t, [...TOKENS, '--facade', '2'])
  const [all, read] = [await signIn(system, TOKEN), await signIn(system, READ_TOKEN)]

  await t.test('at each facade', async () => {
    const facades = new Set<string>()
    await system.until('both facades have answered', async () => {
      const response = await fetch(`${system.url}/log`, { headers: { cookie: read, connection: 'close' } })
      assert.equal(response.status, 200)
      facades.add(response.headers.get('x-request-id')!.split('-')[0]!)
      return facades.size === 2
    })
  })

  await t.test('for what its role may', async () => {
    assert.equal(await change(system, read, '/actors/facade/restart'), 403)
    assert.equal(await change(system, all, '/actors/facade/restart'), 200)
  })

  await t.test('after all facades were replaced, and after a SIGKILL', async () => {
    assert.deepEqual([await roleOf(system, all), await roleOf(system, read)], ['all', 'read'])
    system.kill()
    await system.begin()
    assert.deepEqual([await roleOf(system, all), await roleOf(system, read)], ['all', 'read'])
  })

  await t.test('at another node with the same token', async (t) => {
    const other = await System.start(t, ['--token', TOKEN, '--read-token', OTHER_TOKEN])
    assert.deepEqual([await roleOf(other, all), await roleOf(other, read)], ['all', null])
  })

  await t.test('each change is one line of the log, and no token is in it', async () => {
    const lines = system.output.split('\n').filter((line) => line.includes('"what":'))
    const shown = lines.map((line) => {
      const { role, address, what, result } = JSON.parse(line)
      return [role, address, what.operation, result.status]
    })
    assert.deepEqual(shown, [
      ['all', '127.0.0.1', 'postSession', 200],
      ['read', '127.0.0.1', 'postSession', 200],
      ['read', '127.0.0.1', 'restartActors', 403],
      ['all', '127.0.0.1', 'restartActors', 200],
    ])
    for (const secret of [TOKEN, READ_TOKEN, all, read]) assert.ok(!system.output.includes(secret))
  })

  await t.test('until the token changes', async () => {
    system.kill('SIGTERM')
    await system.exited
    await system.begin(['--token', TOKEN, '--read-token', OTHER_TOKEN])
    assert.deepEqual([await roleOf(system, all), await roleOf(system, read)], ['all', null])
    const response = await fetch(`${system.url}/log`, { headers: { cookie: read } })
    assert.equal(response.status, 401)
  })
})
