/** `mailroom restart` against a node beside others, which hosts only some of the roles. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import { runHere } from '../support/command.ts'

const NAME = 'facade-1@0123456789ab'
const FACADE = {
  ...{ name: NAME, role: 'facade', node: '0123456789ab', pid: 7, state: 'ready', restarts: 1 },
  ...{ mailbox: { depth: 0, capacity: 10, refused: 0 }, handled: 3 },
}

/** A node that hosts the facades alone. @returns Its URL, and what it was asked. */
async function facadeNode(context: TestContext): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const server = createServer(({ url }, response) => {
    asked.push(url!)
    const isHere = url === '/actors/facade/restart'
    const problem = { detail: 'Other nodes do', code: 'MR_ROLE_ELSEWHERE' }
    response.writeHead(isHere ? 200 : 409, {
      'content-type': isHere ? 'application/json' : 'application/problem+json',
    })
    response.end(JSON.stringify(isHere ? [FACADE] : problem))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, asked }
}

test('restart without a role restarts the roles that the node hosts and names the others', async (t) => {
  const { url, asked } = await facadeNode(t)
  const { code, stdout, stderr } = await runHere(['restart', '--url', url])
  assert.equal(code, 0, stderr)
  assert.deepEqual(
    asked,
    ['messages', 'logging', 'facade'].map((role) => `/actors/${role}/restart`),
  )
  assert.match(stdout, new RegExp(`^ACTOR +STATE.*\n${NAME}  ready`))
  assert.equal(stderr.match(/Other nodes do/g)?.length, 2)
})

test('restart of a role that the node does not host exits with code 1', async (t) => {
  const { url, asked } = await facadeNode(t)
  const { code, stdout, stderr } = await runHere(['restart', 'logging', '--url', url])
  assert.deepEqual([code, stdout, asked.length], [1, '', 1])
  assert.match(stderr, /Other nodes do/)
})
