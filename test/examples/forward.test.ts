import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { handlerMessage, loadHandler } from '../../src/actors/messages/handler.ts'

const message = handlerMessage({ id: '01M883CBZ24SH3582Y6FJ45H01', text: 'Zürich' })

test('examples/forward.js passes a message on with its id as key, and fails unless the answer is a 2xx', async (context) => {
  const heard: object[] = []
  const statuses = [201, 503]
  const server = createServer(async (request, response) => {
    const { 'idempotency-key': key, 'content-type': type } = request.headers
    let text = ''
    for await (const chunk of request.setEncoding('utf8')) text += chunk
    heard.push({ key, type, text })
    response.writeHead(statuses.shift()!).end()
  }).listen(0, '127.0.0.1')
  context.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  process.env['FORWARD_TO'] = `http://127.0.0.1:${port}/`
  const forward = await loadHandler(new URL('../../examples/forward.js', import.meta.url).pathname)
  const attempt = { signal: new AbortController().signal, attempt: 1 }

  await forward(message, attempt)
  assert.deepEqual(heard, [{ key: message.id, type: 'text/plain', text: 'Zürich' }])
  await assert.rejects(async () => forward(message, attempt), /answered 503/)
  await assert.rejects(async () => forward(message, { ...attempt, signal: AbortSignal.abort() }), {
    name: 'AbortError',
  })
  assert.equal(heard.length, 2)
})
