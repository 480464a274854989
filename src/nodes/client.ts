/** The client of the other nodes' servers (`server.ts`): resolves host names and fetches directories over HTTP. */
import { lookup } from 'node:dns/promises'
import type { Agent } from 'undici'
import { z } from 'zod'
import { SECRET_HEADER } from '../http/internal/secret.ts'
import type { Clock } from '../runtime/clock.ts'
import { addressOf, type HostPort, ROLES } from '../runtime/cluster/directory.ts'
import { fromWire, inWords, MailroomError } from '../runtime/errors.ts'
import { hasNodeInNames, type NodeDirectory } from './node-directory.ts'
import type { Network } from './nodes.ts'

const Distribution = z.object({
  buckets: z.array(z.tuple([z.number(), z.number()])),
  ...{ count: z.number(), sumSeconds: z.number() },
})

const Figures = z.object({
  totals: z.object({
    ...{ accepted: z.number(), refused: z.number(), replayed: z.number(), delivered: z.number() },
    ...{ attempts: z.number(), died: z.number(), accept: Distribution, delivery: Distribution },
  }),
  disk: z.object({ node: z.string(), dataBytes: z.number(), freeBytes: z.number() }).nullable(),
})

const DirectoryAnswer = z.object({
  node: z.string(),
  startId: z.string(),
  now: z.number(),
  actors: z.array(
    z.looseObject({
      ...{ name: z.string(), role: z.enum(ROLES), node: z.string(), pid: z.number() },
      ...{ restarts: z.number(), handled: z.number(), missing: z.array(z.string()) },
      state: z.enum(['starting', 'ready', 'draining', 'restarting', 'failed']),
      mailbox: z.object({ depth: z.number(), capacity: z.number(), refused: z.number() }),
      port: z.int().nullable(),
    }),
  ),
  figures: Figures.optional(),
})

/** `Network` over the real network. */
export class NodeClient implements Network {
  readonly #secret: string
  readonly #clock: Clock
  /** A node without others loads no undici. */
  #agent: Promise<Agent> | undefined

  constructor({ secret, clock }: { secret: string; clock: Clock }) {
    this.#secret = secret
    this.#clock = clock
  }

  async addressesOf(host: string): Promise<string[]> {
    const found = await lookup(host, { all: true })
    return found.map(({ address }) => address)
  }

  async directoryAt(address: HostPort, timeoutMs: number): Promise<NodeDirectory> {
    const where = addressOf(address)
    const expired = new AbortController()
    const cancel = this.#clock.after(timeoutMs, () => expired.abort())
    let status: number
    let text: string
    try {
      this.#agent ??= openAgent()
      const { statusCode, body } = await (await this.#agent).request({
        ...{ origin: `http://${where}`, path: '/directory', method: 'GET' },
        headers: { [SECRET_HEADER]: this.#secret },
        signal: expired.signal,
      })
      status = statusCode
      text = await body.text()
    } catch (error) {
      if (expired.signal.aborted) {
        throw new MailroomError('MR_DEADLINE_EXPIRED', { what: `node at ${where}`, deadlineMs: timeoutMs })
      }
      throw new MailroomError('MR_PEER_LOST', { peer: `node at ${where}`, reason: inWords(error) })
    } finally {
      cancel()
    }
    return directoryOf(where, status, text)
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await (await this.#agent)?.destroy()
  }
}

async function openAgent(): Promise<Agent> {
  const { Agent } = await import('undici')
  return new Agent({ connections: 1, headersTimeout: 0, bodyTimeout: 0 })
}

function directoryOf(where: string, status: number, text: string): NodeDirectory {
  const invalid = (expected: string) =>
    new MailroomError('MR_REQUEST_INVALID', {
      where: `the answer of ${where}`,
      expected,
      got: 'something else',
    })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('JSON')
  }
  if (status === 403) {
    throw new MailroomError('MR_FORBIDDEN', { reason: "its secret (--secret) is not this node's" })
  }
  if (status !== 200) throw fromWire(value)
  const { success, data } = DirectoryAnswer.safeParse(value)
  if (!success) throw invalid('the directory of a node of the same version')
  const directory = data as NodeDirectory
  if (!hasNodeInNames(directory)) throw invalid('actors whose names contain their node’s name (--peers)')
  return directory
}
