import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { handlerMessage, loadHandler } from '../../src/actors/messages/handler.ts'
import { type Content, storedText } from '../../src/storage/content.ts'

const PUSH = JSON.stringify({
  pusher: { name: 'Ada' },
  commits: [{}, {}],
  repository: { full_name: 'octo/mail' },
})

const message = (content: Content) =>
  handlerMessage({ id: '01M883CBZ24SH3582Y6FJ45H01', text: storedText(content) })

test('examples/handler.js tells of pushes, and says of each error what it means', async (context) => {
  const heard: object[] = []
  const statuses = [200, 403]
  const server = createServer(async (request, response) => {
    heard.push(JSON.parse(Buffer.concat(await request.toArray()).toString()))
    response.writeHead(statuses.shift()!).end()
  }).listen(0, '127.0.0.1')
  context.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  process.env['CHAT_URL'] = `http://127.0.0.1:${port}/`
  const handle = await loadHandler(new URL('../../examples/handler.js', import.meta.url).pathname)
  const attempt = { signal: new AbortController().signal, attempt: 1 }
  const tell = async (content: Content, more = {}) => handle(message(content), { ...attempt, ...more })

  await tell({ text: PUSH, source: 'github', headers: { 'x-github-event': 'push' } })
  await tell({ text: '{}', source: 'github', headers: { 'x-github-event': 'star' } })
  assert.deepEqual(heard, [{ text: 'Ada pushed 2 commits to octo/mail' }])
  await assert.rejects(tell({ text: PUSH }), (error: Error) => {
    assert.deepEqual({ ...error }, {}, 'an attempt that counts')
    return /answered 403/.test(error.message)
  })
  for (const text of ['an order', '{}']) {
    await assert.rejects(tell({ text }), { message: 'Expected a push to GitHub', retry: false })
  }
  await assert.rejects(tell({ text: PUSH }, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  assert.equal(heard.length, 2)
  server.close()
  server.closeAllConnections()
  await assert.rejects(tell({ text: PUSH }), { outage: true })
})
