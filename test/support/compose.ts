/** The whole of compose.yaml as a project of its own, as a user would bring it up. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../../tools/free-port.ts'
import { type Lists, RunningSystem } from './running-system.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024
const run = promisify(execFile)

/** A container as `docker compose ps` tells of it. */
export interface Container {
  id: string
  name: string
  service: string
  state: string
  /** `healthy` once it is; empty when it has ended. */
  health: string
  exitCode: number
}

/** A project under compose.yaml; its API is reached through the published port only. */
export class Compose extends RunningSystem {
  readonly #options: string[]
  readonly #env: NodeJS.ProcessEnv
  readonly #javaOptions: string

  private constructor(port: number, name: string, files: readonly string[]) {
    super(`http://127.0.0.1:${port}`)
    this.#javaOptions = join(mkdtempSync(join(tmpdir(), 'compose-')), 'java.options')
    this.#env = { ...process.env, PORT: String(port), TEST_JAVA_OPTIONS: this.#javaOptions }
    this.#options = ['compose.yaml', ...files, 'test/compose/compose.test.yaml'].flatMap((file) => [
      '-f',
      file,
    ])
    this.#options.unshift('-p', `mailroom-${name}-${process.pid}`)
    this.giveHeap(256)
  }

  /**
   * Builds the images, and starts nothing yet.
   *
   * @param files Used after compose.yaml.
   */
  static async built(name: string, ...files: string[]): Promise<Compose> {
    const compose = new Compose(await freePort(), name, files)
    await compose.docker('build', '--quiet')
    return compose
  }

  /** The heap of each member that starts from now on. */
  giveHeap(mebibytes: number): void {
    writeFileSync(this.#javaOptions, `-Xmx${mebibytes}m\n`)
  }

  /** Variables for all commands from now on, as the numbers of actors. */
  set(variables: Record<string, string>): void {
    Object.assign(this.#env, variables)
  }

  /** `docker compose up --wait`; settles when all is healthy. */
  async up(...services: string[]): Promise<void> {
    await this.docker('up', '--detach', '--wait', '--quiet-pull', ...services)
  }

  /** The last that each container wrote. Synchronous, as `down`. */
  logs(): string {
    return this.#dockerSync('logs', '--no-color', '--tail', '60')
  }

  /** Removes all of it. Synchronous, so that it also works while the process ends. */
  down(): void {
    this.#dockerSync('down', '--volumes', '--remove-orphans', '--timeout', '20')
  }

  /** Runs `docker compose …` on this project; what it wrote. */
  async docker(...args: string[]): Promise<string> {
    return this.run('docker', ['compose', ...this.#options, ...args])
  }

  /** Runs a script of deploy/compose on this project; what it wrote. */
  async script(name: string, ...args: string[]): Promise<string> {
    return this.run(`deploy/compose/${name}`, [...this.#options, ...args])
  }

  /** Runs a command in the project's directory; what it wrote. Rejects when it fails. */
  async run(command: string, args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
    const { stdout } = await run(command, args, {
      cwd: ROOT,
      env: this.#env,
      maxBuffer: MAX_OUTPUT_BYTES,
      ...options,
    })
    return stdout
  }

  /** The project's name. */
  get project(): string {
    return this.#options[1]!
  }

  /** Settles when every container is healthy, without doing anything for it. */
  async healthy(): Promise<void> {
    const isHealthy = async () => (await this.containers()).every(({ health }) => health === 'healthy')
    await this.until('every container is healthy', isHealthy, 120_000)
  }

  /** Both lists, read again while a half of them is not whole: on a busy machine a read may run out of time. */
  override async lists(): ReturnType<RunningSystem['lists']> {
    let lists: Awaited<ReturnType<RunningSystem['lists']>> | undefined
    await this.until('the lists are whole', async () => {
      if ((await this.get<Lists>('/messages')).partial.length > 0) return false
      lists = await super.lists().catch(() => undefined)
      return lists !== undefined
    })
    return lists!
  }

  /** All containers of these services, or of all; ended ones included. */
  async containers(...services: string[]): Promise<Container[]> {
    const lines = (await this.docker('ps', '--all', '--format', 'json', ...services)).trim().split('\n')
    return lines.map((line) => {
      const { ID, Name, Service, State, Health, ExitCode } = JSON.parse(line)
      return { id: ID, name: Name, service: Service, state: State, health: Health, exitCode: ExitCode }
    })
  }

  /** Ids of the containers of all members. */
  async members(): Promise<string[]> {
    const members = (await this.containers()).filter(({ service }) => service.startsWith('hz-'))
    return members.map(({ id }) => id).sort()
  }

  /**
   * Ends a container's processes with SIGKILL from inside: to Docker that is a crash, after which it starts the
   * container again. (`docker kill` counts as a wish to stop it.) Settles when it has been started again.
   */
  async crash({ name }: Container): Promise<void> {
    const restarts = async () =>
      Number(await this.run('docker', ['inspect', '--format', '{{.RestartCount}}', name]))
    const before = await restarts()
    await this.run('docker', ['exec', name, 'sh', '-c', 'kill -KILL -1']).catch(() => {})
    await this.until(`${name} has been started again`, async () => (await restarts()) > before)
  }

  #dockerSync(...args: string[]): string {
    return execFileSync('docker', ['compose', ...this.#options, ...args], {
      cwd: ROOT,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: MAX_OUTPUT_BYTES,
    })
  }
}
