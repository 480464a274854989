/** A running system under test, whatever runs it: all that its public API tells. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** An actor as `GET /actors` shows it. */
export interface Actor {
  name: string
  role: 'facade' | 'logging' | 'messages'
  pid: number
  state: string
  restarts: number
  mailbox: { depth: number; capacity: number; refused: number }
  handled: number
  connections?: number
  waiting?: number
  dead?: number
  retrying?: number
}

/** A message of a list. */
export interface Item {
  id: string
  text: string
  at: string
}

/** What `GET /messages` answers. */
export interface Lists {
  logged: Item[]
  delivered: Item[]
  deliveredTo: string | null
  partial: string[]
}

const WAIT_MS = 30_000

/** A system that listens on `url`. */
export class RunningSystem {
  readonly url: string

  constructor(url: string) {
    this.url = url
  }

  /** What it wrote, to be told when a test fails. */
  get output(): string {
    return ''
  }

  async actors(): Promise<Actor[]> {
    return this.get('/actors')
  }

  async actor(name: string): Promise<Actor> {
    return (await this.actors()).find((actor) => actor.name === name) ?? assert.fail(`no ${name}`)
  }

  /** The names of the messages actors. */
  async messagesActors(): Promise<string[]> {
    return (await this.actors()).filter(({ role }) => role === 'messages').map(({ name }) => name)
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path)
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  async send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      ...(body !== undefined && {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  /** Waits until `what` is true; an error counts as not yet. Fails after 30 s, telling the last error. */
  async until(what: string, holds: () => Promise<boolean>, waitMs = WAIT_MS): Promise<void> {
    const endAt = Date.now() + waitMs
    let last: unknown
    for (;;) {
      try {
        if (await holds()) return
        last = undefined
      } catch (error) {
        last = error
        if (error instanceof assert.AssertionError) throw error
      }
      if (Date.now() > endAt)
        assert.fail(`waited ${waitMs} ms until ${what}; ${last}\n${this.output.slice(-3000)}`)
      await sleep(50)
    }
  }

  /** Everything in one messages actor's store. */
  async storeOf(name: string): Promise<Item[]> {
    const items: Item[] = []
    let path: string | null = `/actors/${name}/messages?limit=1000`
    while (path !== null) {
      const page: { items: Item[]; next: string | null } = await this.get(path)
      items.push(...page.items)
      path = page.next
    }
    return items.reverse()
  }

  /**
   * The whole log through `GET /messages`, and the stores of all messages actors. A log that could not be read to its
   * end (while its cluster moves partitions) is named in `partial`, and is read again.
   */
  async lists(): Promise<{ logged: Item[]; stores: Map<string, Item[]> }> {
    let logged: Item[] = []
    await this.until('the log can be read to its end', async () => {
      const lists = await this.get<Lists>('/messages')
      logged = lists.logged
      return !lists.partial.includes('logged')
    })
    const stores = new Map<string, Item[]>()
    for (const name of await this.messagesActors()) stores.set(name, await this.storeOf(name))
    return { logged, stores }
  }
}
