/** Reads `GET /events` of a real node over cuts and restarts, and keeps all that it was given. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ServerEvent, serverEvents } from '../../src/commands/server-events.ts'
import type { RunningSystem } from './running-system.ts'

const CLIENTS = 16

/** What was given of one message. */
interface Given {
  /** When it came, each time (ms since 1970). */
  at: number[]
}

/** One reader. It connects again, with its cursor, until it is stopped. */
export class EventReader {
  readonly #url: () => string
  readonly #query: string
  readonly given: Record<string, Map<string, Given>> = {}
  readonly counts: Record<string, number> = {}
  cursor: string | undefined
  connections = 0
  /** A pause after each event, ms. */
  slowMs = 0
  #stopped = false
  #cut = new AbortController()
  readonly #running: Promise<void>

  /** @param url Of the node, asked at each connection. */
  constructor(url: () => string, query = '') {
    this.#url = url
    this.#query = query
    this.#running = this.#run()
  }

  /** Ids of messages that it was given. */
  ids(event: string): Set<string> {
    return new Set(this.given[event]?.keys())
  }

  /** Resets the connection; the next begins at once. */
  cut(): void {
    this.#cut.abort()
    this.#cut = new AbortController()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cut.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const headers: Record<string, string> =
        this.cursor === undefined ? {} : { 'last-event-id': this.cursor }
      try {
        const response = await fetch(`${this.#url()}/events${this.#query}`, {
          headers,
          signal: this.#cut.signal,
        })
        if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
        this.connections++
        const chunks = response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>
        for await (const event of serverEvents(chunks)) await this.#take(event)
      } catch {
        await sleep(50)
      }
    }
  }

  async #take({ event, id, data }: ServerEvent): Promise<void> {
    this.cursor = id
    if (event === undefined) return
    this.counts[event] = (this.counts[event] ?? 0) + 1
    this.given[event] ??= new Map()
    const of = this.given[event]
    for (const item of Array.isArray(data) ? (data as { id: string }[]) : []) {
      const given = of.get(item.id) ?? { at: [] }
      given.at.push(Date.now())
      of.set(item.id, given)
    }
    if (this.slowMs > 0) await sleep(this.slowMs)
  }
}

/** Clients that post, each one after the other, until they are stopped. @returns The ids that were acknowledged. */
export function post(system: RunningSystem) {
  const ids: string[] = []
  let isPosting = true
  const client = async (name: number) => {
    for (let number = 0; isPosting; number++) {
      const body = `client ${name}, message ${number}`
      const response = await fetch(`${system.url}/messages`, {
        ...{ method: 'POST', headers: { 'content-type': 'text/plain' }, body },
      }).catch(() => undefined)
      if (response?.status === 201) ids.push(((await response.json()) as { id: string }).id)
      else await sleep(20)
      await sleep(5)
    }
  }
  const clients = Array.from({ length: CLIENTS }, (_, name) => client(name))
  return {
    ids,
    async stop() {
      isPosting = false
      await Promise.all(clients)
    },
  }
}

/** Fails unless every message that was acknowledged was given. */
export function checkGiven(reader: EventReader, ids: readonly string[], name: string): void {
  for (const event of ['logged', 'delivered'] as const) {
    const given = reader.ids(event)
    const missed = ids.filter((id) => !given.has(id))
    assert.deepEqual(missed.slice(0, 5), [], `${name} missed ${missed.length} of ${ids.length} ${event}`)
  }
}
