/** A node as a client command sees it, whose every answer the test decides. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { report } from '../../src/commands/terminal.ts'
import { ApiClient } from '../../src/http/api-client.ts'

/** A call that came in. */
export interface Call {
  method: string
  path: string
  key: string | undefined
  authorization: string | undefined
  body: unknown
}

/** What is answered; `lose` cuts the connection instead, `hold` never answers. */
export type Reply = { status: number; body?: unknown; headers?: Record<string, string> } | 'lose' | 'hold'

/** Stores what it is posted, once a key, unless the script says otherwise. */
export class FakeNode {
  readonly calls: Call[] = []
  /** What became of every key: the texts, and the answer that a repeat gets. */
  readonly stored = new Map<string, { texts: string[]; answer: unknown }>()
  /** Decides about a call before it is answered as usual; `after` it was stored or not. */
  script: (call: Call, number: number) => Reply | { after: Reply } | undefined = () => undefined
  url = ''

  /** Starts a node; it ends with the test. */
  static async start(
    context: TestContext,
    { retryMs = 10_000 } = {},
  ): Promise<{ node: FakeNode; client: ApiClient }> {
    const node = new FakeNode()
    const server = createServer((request, response) => void node.#take(request, response))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    node.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
    const client = new ApiClient(node.url, { retryMs, onFirstRetry: ({ message }) => report(message) })
    context.after(async () => {
      server.close()
      server.closeAllConnections()
      await client[Symbol.asyncDispose]()
    })
    return { node, client }
  }

  /** All texts that are stored, in the order of their batches. */
  get texts(): string[] {
    return [...this.stored.values()].flatMap(({ texts }) => texts)
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call: Call = {
      method: request.method!,
      path: request.url!,
      key: request.headers['idempotency-key'] as string | undefined,
      authorization: request.headers.authorization,
      body: request.method === 'GET' ? undefined : await json(request).catch(() => undefined),
    }
    const said = this.script(call, this.calls.push(call))
    if (said !== undefined && !(typeof said === 'object' && 'after' in said)) return give(response, said)
    const usual = { status: 201, body: this.#store(call) }
    give(response, said === undefined ? usual : said.after)
  }

  #store({ key = String(this.calls.length), body }: Call): unknown {
    const first = this.stored.get(key)
    if (first !== undefined) return first.answer
    const texts = (body as { text: string }[]).map(({ text }) => text)
    const batch = this.stored.size
    const answer = texts.map((_, index) => ({ id: `${batch}-${index}`, at: 'then' }))
    this.stored.set(key, { texts, answer })
    return answer
  }
}

/** A refusal as the API words it. */
export function refusal(status: number, code: string, detail: string): Reply {
  return { status, body: { status, code, detail }, headers: { 'content-type': 'application/problem+json' } }
}

function give(response: ServerResponse, reply: Reply): void {
  if (reply === 'hold') return
  if (reply === 'lose') {
    response.destroy()
    return
  }
  response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers })
  response.end(reply.body === undefined ? undefined : JSON.stringify(reply.body))
}
