/** The real program as a child process: `mailroom start` on a data directory of its own. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { TestContext } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { RunningSystem } from './running-system.ts'

const OUTPUT_CHARACTERS = 100_000
const MARK = 'TEST_SYSTEM'
/** A worker ends with its primary; one that a loaded machine gives no time may take this long. */
const WORKERS_END_MS = 15_000
const CLI = new URL('../../src/cli.ts', import.meta.url).pathname

interface SystemOptions {
  env?: Record<string, string>
  data?: string
  stdout?: number | 'pipe'
  /** A file that its log lines are appended to, in place of `stdout`. */
  logFile?: string
  /** A command that runs the program in its place: the pid stays the same. */
  wrap?: string[]
}

/** A message that always fails is a dead letter after some 7 s. */
export const FIVE_ATTEMPTS: readonly string[] = ['--attempts', '5', '--retry-min', '500ms']

/** A node under test; ended, and its data removed, when the test is over. */
export class System extends RunningSystem {
  readonly data: string
  readonly port: number
  #args: string[]
  #env: Record<string, string>
  #wrap: string[]
  #stdout: number | 'pipe'
  /** Where the log lines of the next process go; `stdout` without it. */
  logFile: string | undefined
  #output = ''
  /** In the environment of every process of this node. */
  readonly #node = randomUUID()
  #starts = 0
  primary!: ChildProcess
  /** Exit code and signal of the primary last started. */
  exited!: Promise<[number | null, NodeJS.Signals | null]>

  private constructor(
    port: number,
    data: string,
    args: string[],
    { env = {}, stdout = 'pipe', logFile, wrap = [] }: SystemOptions,
  ) {
    super(`http://127.0.0.1:${port}`)
    this.port = port
    this.data = data
    this.#args = args
    this.#env = env
    this.#stdout = stdout
    this.logFile = logFile
    this.#wrap = wrap
  }

  /** Starts a node with these flags and waits until it is ready. */
  static async start(
    context: Pick<TestContext, 'after'>,
    args: string[] = [],
    options: SystemOptions = {},
  ): Promise<System> {
    const system = await System.spawned(context, args, options)
    await system.ready()
    return system
  }

  /** Starts a node with these flags. */
  static async spawned(
    context: Pick<TestContext, 'after'>,
    args: string[] = [],
    options: SystemOptions = {},
  ): Promise<System> {
    const port = await freePort()
    const system = new System(port, options.data ?? mkdtempSync(join(tmpdir(), 'mailroom-')), args, options)
    context.after(async () => {
      system.kill()
      await system.exited
      await system.workersEnded()
      // The directory of another system is removed by that one, which may end before this one does.
      rmSync(system.data, { recursive: true, force: true, maxRetries: 10 })
    })
    system.spawn()
    return system
  }

  /** Starts the primary (again) and waits until it is ready. */
  async begin(args = this.#args): Promise<void> {
    this.#args = args
    this.spawn()
    // Facades of a primary that was killed may answer for a moment.
    await this.#ended((mark) => mark !== this.#mark)
    await this.ready()
  }

  /** Of the processes of the primary last started. */
  get #mark(): string {
    return `${this.#node}.${this.#starts}`
  }

  /** Starts the primary without waiting. */
  spawn(): void {
    this.#starts++
    const flags = ['--port', String(this.port), '--data', this.data, ...this.#args]
    const [command, ...rest] = [...this.#wrap, process.execPath, CLI, 'start', ...flags] as [string]
    const stdout = this.logFile === undefined ? this.#stdout : openSync(this.logFile, 'a')
    this.primary = spawn(command, rest, {
      env: { ...process.env, ...this.#env, [MARK]: this.#mark },
      stdio: ['ignore', stdout, 'pipe'],
    })
    if (stdout !== this.#stdout) closeSync(stdout as number)
    this.exited = once(this.primary, 'exit') as never
    for (const stream of [this.primary.stdout, this.primary.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + withoutRequests(text)).slice(-OUTPUT_CHARACTERS)
      })
    }
  }

  /** What it wrote, the last 100 kB, without lines about single requests (level debug). */
  override get output(): string {
    const log = this.logFile === undefined ? '' : withoutRequests(readFileSync(this.logFile, 'utf8'))
    return (log + this.#output).slice(-OUTPUT_CHARACTERS)
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (this.primary.exitCode === null && this.primary.signalCode === null) this.primary.kill(signal)
  }

  /** Waits until no process is left, of earlier primaries neither: until then they write into the data. */
  workersEnded(): Promise<void> {
    return this.#ended(() => true)
  }

  async #ended(isMeant: (mark: string) => boolean): Promise<void> {
    const until = performance.now() + WORKERS_END_MS
    const left = () => marked(this.#node).flatMap(({ mark, what }) => (isMeant(mark) ? [what] : []))
    for (let some = left(); some.length > 0; some = left()) {
      assert.ok(performance.now() < until, `outlived their primary: ${some.join('; ')}`)
      await sleep(50)
    }
  }

  /** Waits until `GET /readyz` answers 200 and names nothing as degraded. */
  async ready(): Promise<void> {
    await this.until('it is ready', async () => {
      if (this.primary.exitCode !== null) assert.fail(`ended with ${this.primary.exitCode}:\n${this.output}`)
      const response = await fetch(`${this.url}/readyz`)
      return response.ok && ((await response.json()) as { degraded?: string[] }).degraded === undefined
    })
  }
}

/** The Node.js processes of a node under test, with their marks, as `pid state command threads`. */
function marked(node: string): { mark: string; what: string }[] {
  if (process.platform !== 'linux') return []
  const pattern = new RegExp(`${MARK}=(${node}\\.\\d+)`)
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid)) return []
      const mark = pattern.exec(readFileSync(`/proc/${pid}/environ`, 'latin1'))?.[1]
      const [command = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
      const state = /^State:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
      if (mark === undefined || !basename(command).startsWith('node')) return []
      return [{ mark, what: `${pid} ${state} ${args.join(' ')} ${threadsOf(pid)}` }]
    } catch {
      return [] // It has just ended.
    }
  })
}

/** What each thread does, for the message of an assertion. */
function threadsOf(pid: string): string {
  const tasks = `/proc/${pid}/task`
  const read = (id: string, name: string) => readFileSync(`${tasks}/${id}/${name}`, 'latin1').trim()
  return readdirSync(tasks)
    .map(
      (id) => `[${read(id, 'comm')}: ${read(id, 'stat').split(') ')[1]!.slice(0, 90)}; ${read(id, 'wchan')}]`,
    )
    .join(' ')
}

const withoutRequests = (lines: string) => lines.replaceAll(/^.*"msg":"request".*\n/gm, '')

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The pids of the processes that a process has started, on Linux; none when it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
    return pids === '' ? [] : pids.split(' ').map(Number)
  } catch {
    return []
  }
}

/** True while a process with this pid runs: one that has ended may wait for a while to be buried. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux' || !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
