/** Clients that post all the time and write down what they were told. */
import { Agent, request } from 'node:http'
import type { TestContext } from 'node:test'
import { History } from './history.ts'
import { sleep } from './system.ts'

/** `connections` keep-alive connections, each posting one message after another. */
export class Load {
  readonly history = new History()
  readonly #url: URL
  readonly #agent: Agent
  readonly #clients: Promise<void>[]
  readonly #label: string
  #stopped = false
  #count = 0

  /** Begins at once, and ends with the test at the latest. */
  constructor(
    context: Pick<TestContext, 'after'>,
    url: string,
    { connections = 64, label = 'load', pauseMs = 0 } = {},
  ) {
    this.#url = new URL('/messages', url)
    this.#label = label
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections })
    context.after(() => this.stop())
    this.#clients = Array.from({ length: connections }, () => this.#client(pauseMs))
  }

  /** Resolves when `count` more messages have been acknowledged. */
  async more(count: number): Promise<void> {
    const goal = this.history.acknowledged.size + count
    while (this.history.acknowledged.size < goal && !this.#stopped) await sleep(20)
  }

  /** Ends all clients; each finishes its request. */
  async stop(): Promise<History> {
    this.#stopped = true
    await Promise.all(this.#clients)
    this.#agent.destroy()
    return this.history
  }

  async #client(pauseMs: number): Promise<void> {
    while (!this.#stopped) {
      const text = `${this.#label} ${++this.#count}`
      this.history.attempted.add(text)
      const startedAt = Date.now()
      this.history.postedAt.set(text, startedAt)
      const fail = (how: number | string, answer?: string) => {
        const at = Date.now()
        this.history.failures.push({ how, text, at, tookMs: at - startedAt, ...(answer && { answer }) })
      }
      const sentAt = performance.now()
      try {
        const { status, body } = await this.#post(text)
        this.history.longestMs = Math.max(this.history.longestMs, Date.now() - startedAt)
        if (status === 201)
          this.history.acknowledge((JSON.parse(body) as { id: string }).id, text, Date.now())
        else fail(status, body)
        if (status !== 201) await sleep(50)
      } catch (error) {
        fail((error as NodeJS.ErrnoException).code ?? String(error))
        await sleep(50)
      }
      this.history.took.push({ sentAt, ms: performance.now() - sentAt })
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }

  #post(text: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        this.#url,
        { method: 'POST', agent: this.#agent, headers: { 'content-type': 'text/plain' } },
        (response) => {
          let body = ''
          response.setEncoding('utf8')
          response.on('data', (part: string) => {
            body += part
          })
          response.on('end', () => resolve({ status: response.statusCode!, body }))
          response.on('error', reject)
        },
      )
      outgoing.setTimeout(20_000, () => outgoing.destroy(new Error('no answer in 20 s')))
      outgoing.on('error', reject)
      outgoing.end(text)
    })
  }
}
