/** `--forward` on the real program: what was acknowledged reaches the receiver, byte for byte, though both have bad days. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { type TestContext, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { freePort } from '../../tools/free-port.ts'
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
