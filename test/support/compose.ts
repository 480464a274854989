/** The whole of compose.yaml as a project of its own, as a user would bring it up. */
import { execFile, execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../../tools/free-port.ts'
import { type Lists, RunningSystem } from './running-system.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024
const run = promisify(execFile)

/** A container as `docker compose ps` tells of it. */
interface Container {
  name: string
  /** `healthy` once it is; empty when it has ended. */
  health: string
  exitCode: number
}

/** A project under compose.yaml; its API is reached through the published port only. */
export class Compose extends RunningSystem {
  readonly #project: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(port: number) {
    super(`http://127.0.0.1:${port}`)
    this.#project = `mailroom-test-${process.pid}`
    this.#env = { ...process.env, PORT: String(port), MEMBER_HEAP: '256m', LOGGING: '3', MESSAGES: '2' }
  }

  /** Builds the image, and starts nothing yet. */
  static async built(): Promise<Compose> {
    const compose = new Compose(await freePort())
    await compose.docker('build', '--quiet')
    return compose
  }

  /** `docker compose up --wait` with these numbers of actors; settles when all is healthy. */
  async up(numbers: { LOGGING?: string; MESSAGES?: string } = {}): Promise<void> {
    Object.assign(this.#env, numbers)
    await this.docker('up', '--detach', '--wait', '--quiet-pull')
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
    const { stdout } = await run('docker', this.#args(...args), {
      cwd: ROOT,
      env: this.#env,
      maxBuffer: MAX_OUTPUT_BYTES,
    })
    return stdout
  }

  /** Settles when every container is healthy, without doing anything for it. */
  async healthy(): Promise<void> {
    const isHealthy = async () => (await this.containers()).every(({ health }) => health === 'healthy')
    await this.until('every container is healthy', isHealthy, 120_000)
  }

  /** Both lists, read again while a half of them is not whole: on a busy machine a read may run out of time. */
  override async lists(): ReturnType<RunningSystem['lists']> {
    await this.until('the lists are whole', async () => {
      return (await this.get<Lists>('/messages')).partial.length === 0
    })
    return super.lists()
  }

  /** All containers of these services, or of all; ended ones included. */
  async containers(...services: string[]): Promise<Container[]> {
    const lines = (await this.docker('ps', '--all', '--format', 'json', ...services)).trim().split('\n')
    return lines.map((line) => {
      const { Name, Health, ExitCode } = JSON.parse(line)
      return { name: Name, health: Health, exitCode: ExitCode }
    })
  }

  /**
   * Ends a container's processes with SIGKILL from inside: to Docker that is a crash, after which it starts the
   * container again. (`docker kill` counts as a wish to stop it.) Settles when it has been started again.
   */
  async crash({ name }: Container): Promise<void> {
    const restarts = async () => {
      const { stdout } = await run('docker', ['inspect', '--format', '{{.RestartCount}}', name])
      return Number(stdout)
    }
    const before = await restarts()
    await run('docker', ['exec', name, 'sh', '-c', 'kill -KILL -1']).catch(() => {})
    await this.until(`${name} has been started again`, async () => (await restarts()) > before)
  }

  #dockerSync(...args: string[]): string {
    return execFileSync('docker', this.#args(...args), {
      cwd: ROOT,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: MAX_OUTPUT_BYTES,
    })
  }

  #args(...args: string[]): string[] {
    return ['compose', '--project-name', this.#project, ...args]
  }
}
