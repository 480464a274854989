/** `--forward` on the real program: what was acknowledged reaches the receiver, byte for byte, though both have bad days. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { type TestContext, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { freePort } from '../../tools/free-port.ts'
import { run } from '../support/command.ts'
import { System } from '../support/system.ts'

const require = createRequire(import.meta.url)
/** Webhook bodies as GitHub sends them, without those that are too large for a text. */
const hooks = (require('@octokit/webhooks-examples') as { examples: unknown[] }[])
  .flatMap(({ examples }) => examples.map((example) => JSON.stringify(example)))
  .filter((hook) => Buffer.byteLength(hook) < 60_000)

interface Got {
  headers: IncomingHttpHeaders
  body: Buffer
}

/** A receiver that can be stopped and started again, on one port. */
class Receiver {
  readonly got: Got[] = []
  /** What it answers; undefined: nothing. */
  status: number | undefined = 200
  readonly port: number
  #server: Server | undefined

  constructor(port: number) {
    this.port = port
  }

  static async started(context: TestContext): Promise<Receiver> {
    const receiver = new Receiver(await freePort())
    context.after(() => receiver.stop())
    await receiver.start()
    return receiver
  }

  async start(): Promise<void> {
    this.#server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray())
      this.got.push({ headers: request.headers, body })
      if (this.status !== undefined) response.writeHead(this.status).end()
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  stop(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }

  ids(): Set<string> {
    return new Set(this.got.map(({ headers }) => String(headers['idempotency-key'])))
  }
}

async function post(system: System, texts: string[]): Promise<Map<string, string>> {
  const messages = texts.map((text) => ({ text }))
  const accepted = await system.send<{ id: string }[]>('POST', '/messages', messages)
  return new Map(accepted.map(({ id }, index) => [id, texts[index]!]))
}

test('what is posted is forwarded byte for byte, though the receiver is away for a while and a worker is killed', async (context) => {
  const receiver = await Receiver.started(context)
  const key = 'a secret of the receiver'
  const url = `http://127.0.0.1:${receiver.port}/hooks?query=not-shown`
  const args = ['--forward', url, '--forward-secret', 'env:RECEIVER_KEY']
  const system = await System.start(context, args, { env: { RECEIVER_KEY: key } })
  const posted = new Map<string, string>()
  const add = async (texts: string[]) => {
    for (const [id, text] of await post(system, texts)) posted.set(id, text)
  }
  const arrived = () => system.until('all has arrived', async () => receiver.ids().size === posted.size)

  await add([...hooks.slice(0, 50), '\u{feff}bom\r\n', '\0', 'Zürich'])
  await arrived()
  assert.equal(receiver.got.length, posted.size, 'once each')

  receiver.stop()
  await add(hooks.slice(50, 100))
  const away = `an outage of http://127.0.0.1:${receiver.port}/hooks since`
  await system.until('the outage is told', async () => {
    const { degraded = [] } = await system.get<{ degraded?: string[] }>('/readyz')
    return degraded.some((what) => what.startsWith(away))
  })
  await receiver.start()
  await arrived()
  const isUncounted = async (id: string) => {
    const { state, attempts } = await system.get<{ state: string; attempts: number }>(`/messages/${id}`)
    return state === 'delivered' && attempts === 1
  }
  for (const id of posted.keys()) await system.until(`${id} is delivered`, () => isUncounted(id))

  receiver.status = undefined
  const before = receiver.got.length
  await add(hooks.slice(100, 140))
  await system.until('requests hang', async () => receiver.got.length >= before + 20)
  process.kill((await system.actor('messages-1')).pid, 'SIGKILL')
  receiver.stop()
  receiver.status = 200
  await receiver.start()
  const isDelivered = async (id: string) =>
    (await system.get<{ state: string }>(`/messages/${id}`)).state === 'delivered'
  for (const id of posted.keys()) await system.until(`${id} is delivered`, () => isDelivered(id))

  const verifier = new Webhook(key, { format: 'raw' })
  for (const { headers, body } of receiver.got) {
    const text = posted.get(String(headers['idempotency-key']))!
    assert.ok(body.equals(Buffer.from(text)), text)
    verifier.verify(body, headers as Record<string, string>, { jsonParse: false })
  }
  assert.deepEqual(await system.get('/dead'), { items: [], next: null })
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null])
  assert.doesNotMatch(system.output, /not-shown|a secret of the receiver|MaxListeners/)
  assert.match(system.output, new RegExp(`"forward":"http://127.0.0.1:${receiver.port}/hooks"`))
})

test('webhooks in, forward out: each once, byte for byte, also binary and empty bodies; one more on demand', async (context) => {
  const receiver = await Receiver.started(context)
  const secret = "It's a Secret to Everybody"
  const url = `http://127.0.0.1:${receiver.port}/`
  const flags = ['--sources', 'examples/github.json', '--forward', url]
  const system = await System.start(context, flags, { env: { GITHUB_WEBHOOK_SECRET: secret } })
  const bodies = [
    ...hooks.slice(0, 100).map((hook) => Buffer.from(hook)),
    Buffer.alloc(0),
    Buffer.from([0xff, 0xfe, 0, 1]),
    Buffer.from('\0{}\n'),
  ]
  const ids = new Map<string, Buffer>()
  const deliver = async (body: Buffer, delivery: number) => {
    const headers = {
      ...{ 'content-type': 'application/json', 'x-github-event': 'push', 'x-github-delivery': `${delivery}` },
      'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    }
    const response = await fetch(`${system.url}/in/github`, {
      method: 'POST',
      headers,
      body: new Uint8Array(body),
    })
    assert.equal(response.status, 200)
    ids.set(((await response.json()) as { id: string }).id, body)
  }
  for (let times = 0; times < 3; times++) {
    if (times === 1) receiver.stop()
    await Promise.all(bodies.map(deliver))
  }
  await receiver.start()
  assert.equal(ids.size, bodies.length)
  await system.until('all has arrived', async () => receiver.ids().size === ids.size)
  const isDelivered = async (id: string) =>
    (await system.get<{ state: string }>(`/messages/${id}`)).state === 'delivered'
  for (const id of ids.keys()) await system.until(`${id} is delivered`, () => isDelivered(id))
  for (const { headers, body } of receiver.got) {
    assert.ok(body.equals(ids.get(String(headers['idempotency-key']))!))
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(headers['x-github-event'], 'push')
    assert.ok(!('x-hub-signature-256' in headers), 'the signature is not passed on')
  }

  const [id] = [...ids.keys()] as [string]
  const countOf = () => receiver.got.filter(({ headers }) => headers['idempotency-key'] === id).length
  const before = countOf()
  const again = await run(['redeliver', id, '--url', system.url])
  assert.deepEqual([again.code, countOf()], [0, before + 1])
  receiver.status = 500
  const failed = await run(['redeliver', id, '--url', system.url])
  assert.equal(failed.code, 1)
  assert.match(failed.stderr, /500/)
  const { delivered } = await system.get<{ delivered: { id: string }[] }>('/messages')
  assert.ok(delivered.filter((message) => message.id === id).length <= 1)
  assert.deepEqual(await system.get('/dead'), { items: [], next: null })
})
