/** One real Hazelcast member as a child process: started, frozen, killed and started again on its port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Program } from './jar.ts'

const CONFIG = fileURLToPath(new URL('../../config/hazelcast.xml', import.meta.url))
const READY_WITHIN_MS = 60_000
const STOP_WITHIN_MS = 30_000
const HEALTH_TIMEOUT_MS = 1000
/** A member that has not answered for so long is frozen. */
const FROZEN_MS = 300
const OUTPUT_KEPT = 20_000

/** What Hazelcast asks for on Java 17 and newer, in its own words. */
const JAVA_INTERNALS = [
  ...['--add-modules', 'java.se', '--add-exports', 'java.base/jdk.internal.ref=ALL-UNNAMED'],
  ...[
    'java.base/java.lang',
    'java.base/sun.nio.ch',
    'java.management/sun.management',
    'jdk.management/com.sun.management.internal',
  ].flatMap((name) => ['--add-opens', `${name}=ALL-UNNAMED`]),
]

/** Ends a member when the process that started it is gone, however it went: then its standard input closes. */
const KEEPER = 'cat >/dev/null; kill -KILL "$1"'

/** Which member of which cluster it is. */
export interface MemberOptions {
  program: Program
  cluster: string
  /** On 127.0.0.1. */
  port: number
  /** The ports of all members of its cluster, itself included. */
  ports: readonly number[]
  /** Path of another configuration than ours. */
  config?: string | undefined
  /** The most its heap may take. */
  heapMiB: number
  /** It runs for long, or is measured: Java optimizes its code, which a fast start does without. */
  isLasting: boolean
}

/** A member. A state is asked for and then waited for: the promises settle when it is reached. */
export class Member {
  readonly address: string
  readonly #port: number
  readonly #command: readonly [string, ...string[]]
  #process: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #output = ''

  constructor({ program, cluster, port, ports, config = CONFIG, heapMiB, isLasting }: MemberOptions) {
    this.#port = port
    this.address = `127.0.0.1:${port}`
    this.#command = [
      program.java,
      ...JAVA_INTERNALS,
      // Out of memory it would stay up and answer nothing.
      ...[`-Xmx${heapMiB}m`, '-XX:+UseSerialGC', '-XX:+ExitOnOutOfMemoryError'],
      ...(isLasting ? [] : ['-XX:TieredStopAtLevel=1']),
      // Open to this machine only.
      '-Dhazelcast.socket.bind.any=false',
      `-Dhazelcast.config=${config}`,
      `-Dmailroom.cluster=${cluster}`,
      `-Dmailroom.port=${port}`,
      `-Dmailroom.members=${ports.map((each) => `127.0.0.1:${each}`).join()}`,
      `-Dmailroom.majority=${ports.length >= 3}`,
      ...['-cp', program.jar, 'com.hazelcast.core.server.HazelcastMemberStarter'],
    ]
  }

  /** What it wrote since it was last started, the last 20 kB. */
  get output(): string {
    return this.#output
  }

  /** Its process; undefined when it does not run. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  /** Settles when it has ended, for whatever reason; at once when it does not run. */
  get exited(): Promise<unknown> {
    return this.#exited
  }

  /** Starts it, again on its port if it ran before; settles when it is a ready member of its cluster. */
  async start(): Promise<void> {
    if (this.#process !== undefined) throw new Error(`${this.address} runs already`)
    const [java, ...args] = this.#command
    // A group of its own: a terminal's Ctrl-C reaches us only, and we end it.
    const child = spawn(java, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    await once(child, 'spawn')
    const keeper = spawn('sh', ['-c', KEEPER, 'keeper', String(child.pid)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#process = child
    this.#output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_KEPT)
      })
    }
    this.#exited = once(child, 'exit').then(() => {
      keeper.kill('SIGKILL')
      this.#process = undefined
    })
    await this.#until('ready', async () => (await this.#health('ready')).ok)
  }

  /** Settles when it sees this many members, itself included. */
  async sees(count: number): Promise<void> {
    await this.#until(`one of ${count}`, async () => {
      return Number(await (await this.#health('cluster-size')).text()) === count
    })
  }

  /** SIGKILL: gone without a word. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#exited
  }

  /** SIGTERM: hands over what it holds, then ends; killed if it has not after 30 s. */
  async stop(): Promise<void> {
    this.#process?.kill('SIGTERM')
    const overtime = setTimeout(() => this.#process?.kill('SIGKILL'), STOP_WITHIN_MS)
    await this.#exited
    clearTimeout(overtime)
  }

  /** SIGSTOP: its connections stand; settles when nobody answers on them. */
  async freeze(): Promise<void> {
    this.#process?.kill('SIGSTOP')
    await this.#until('frozen', () =>
      this.#health('ready', FROZEN_MS).then(
        () => false,
        () => true,
      ),
    )
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  #health(what: string, timeoutMs = HEALTH_TIMEOUT_MS): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.#port}/hazelcast/health/${what}`, {
      signal: AbortSignal.timeout(timeoutMs),
    })
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const endAt = Date.now() + READY_WITHIN_MS
    while (Date.now() < endAt) {
      if (this.#process === undefined) throw new Error(`${this.address} ended:\n${this.#output}`)
      if (await holds().catch(() => false)) return
      await sleep(50)
    }
    throw new Error(`${this.address} is not ${what} after ${READY_WITHIN_MS} ms:\n${this.#output}`)
  }
}
