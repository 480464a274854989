/** Mailroom under measurement: a node of its own on a free port, with its data in a temporary directory. */
import { freePort } from '../../tools/free-port.ts'
import { type Child, removeDirectory, startProgram, temporaryDirectory, until } from './child.ts'
import { mustEqual, Tally } from './texts.ts'

/** An actor as `GET /actors` shows it. */
export interface ShownActor {
  name: string
  role: 'facade' | 'logging' | 'messages'
  pid: number
  handled: number
  waiting?: number
}

/** A message of a page. */
export interface Item {
  id: string
  text: string
}

interface Page {
  items: Item[]
  next: string | null
}

const CLI = new URL('../../src/cli.ts', import.meta.url).pathname
const COMPILE_CACHE = new URL('../../node_modules/.cache/compile', import.meta.url).pathname

/** A node that runs. */
export class Mailroom {
  readonly port: number
  readonly url: string
  readonly #child: Child
  readonly #data: string
  readonly #isOurs: boolean

  private constructor(child: Child, port: number, data: string, isOurs: boolean) {
    this.#child = child
    this.port = port
    this.url = `http://127.0.0.1:${port}`
    this.#data = data
    this.#isOurs = isOurs
  }

  /** Starts a node with these flags, as `npm start` does, and waits until it is ready. `data`: kept afterwards. */
  static async start(flags: readonly string[] = [], data?: string): Promise<Mailroom> {
    const port = await freePort()
    const directory = data ?? temporaryDirectory()
    const args = [CLI, 'start', '--port', String(port), '--data', directory, '--log-level', 'warn', ...flags]
    const env = { NODE_COMPILE_CACHE: COMPILE_CACHE }
    const child = startProgram(process.execPath, args, { env, stderr: 'inherit' })
    const mailroom = new Mailroom(child, port, directory, data === undefined)
    await until(child, 'Mailroom to be ready', async () => {
      return (await fetch(`${mailroom.url}/readyz`).catch(() => undefined))?.ok === true
    })
    return mailroom
  }

  /** The primary's: all other processes are its descendants. */
  get pids(): [number] {
    return [this.#child.pid]
  }

  async get<T>(path: string): Promise<T> {
    this.#child.mustRun()
    const response = await fetch(this.url + path)
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  actors(): Promise<ShownActor[]> {
    return this.get('/actors')
  }

  /** Messages that the messages actors have delivered, as of their last heartbeat. */
  async consumed(): Promise<number> {
    const actors = await this.actors()
    return actors.reduce((sum, { role, handled }) => sum + (role === 'messages' ? handled : 0), 0)
  }

  /** Waits until this many messages have been delivered since the start. */
  async untilConsumed(count: number): Promise<void> {
    const isReached = async () => (await this.consumed()) >= count
    await until(this.#child, `${count} messages to be delivered`, isReached, 100)
  }

  /** The tally of what is delivered: the lists of all messages actors. @throws {Error} When the log holds another. */
  async tally(): Promise<Tally> {
    const delivered = new Tally()
    for (const { name, role } of await this.actors()) {
      if (role === 'messages') await this.#count(`/actors/${name}/messages`, delivered)
    }
    mustEqual('The log', await this.logTally(), delivered)
    return delivered
  }

  /** The tally of the log. */
  async logTally(): Promise<Tally> {
    const logged = new Tally()
    await this.#count('/log', logged)
    return logged
  }

  /** Adds all messages of a list, read page by page. */
  async #count(path: string, tally: Tally): Promise<void> {
    for await (const { text } of this.items(`${path}?limit=1000`)) tally.add(text)
  }

  /** All messages from this page on. */
  async *items(path: string): AsyncGenerator<Item> {
    for (let next: string | null = path; next !== null; ) {
      const page: Page = await this.get(next)
      yield* page.items
      next = page.next
    }
  }

  /** Ends the node, and removes its data. */
  async end(): Promise<void> {
    await this.#child.end()
    if (this.#isOurs) removeDirectory(this.#data)
  }
}
