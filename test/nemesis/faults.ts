/** What the nemesis does to a node: every fault strikes, ends by itself, and says from when recovery counts. */
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Actor } from '../support/running-system.ts'
import { isAlive, type System, sleep } from '../support/system.ts'
import { type Dice, diceOf } from './dice.ts'

/** One kind of fault. */
export interface Fault {
  name: string
  /** Whether no client may notice: not one request fails. */
  silent: boolean
  /** What it strikes. One at an actor may come together with any other, but with the end of the primary. */
  at: 'actor' | 'actors' | 'node' | 'primary' | 'member' | 'disk'
  /** Within how many ms posts are taken again; not judged without it. */
  postsWithinMs?: number
  /** Strikes; resolves with the moment, in ms of `performance.now()`, from which the node may recover. */
  strike(system: System, dice: Dice): Promise<number>
}

type Role = Actor['role']
const ROLES: readonly Role[] = ['facade', 'logging', 'messages']
const ATTEMPTS = 20
/** With some 200 bytes of log line each. */
const NOISE_COUNT = 1600
const NOISE_CLIENTS = 16
export const DROPPED = /[0-9]+ log lines were dropped/

export const pick = <T>(from: readonly T[], dice: Dice): T => from[Math.floor(dice() * from.length)]!

/** By when posts are taken again once a cause is gone, by itself or after a restart. */
export const POSTS_WITHIN_MS = 5000

/** Asks until it is answered: a kept-alive connection may go down with the facade of the fault before. */
export async function told<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof TypeError) || attempt === ATTEMPTS) throw error
      await sleep(100)
    }
  }
}

export async function anyOf(system: System, role: Role, dice: Dice): Promise<Actor> {
  const actors = await told(() => system.actors())
  return pick(
    actors.filter((actor) => actor.role === role),
    dice,
  )
}

function uidOf(pid: number): number {
  return statSync(`/proc/${pid}`).uid
}

export function signal(pid: number, name: NodeJS.Signals): void {
  if (isAlive(pid)) process.kill(pid, name)
}

const kill = (role: Role): Fault => ({
  name: `SIGKILL of a ${role} actor`,
  silent: role !== 'facade',
  at: 'actor',
  async strike(system, dice) {
    signal((await anyOf(system, role, dice)).pid, 'SIGKILL')
    return performance.now()
  },
})

const freeze = (role: Role): Fault => ({
  name: `SIGSTOP of a ${role} actor`,
  silent: false,
  at: 'actor',
  async strike(system, dice) {
    const { pid } = await anyOf(system, role, dice)
    signal(pid, 'SIGSTOP')
    const since = performance.now()
    // Short enough to be overlooked, or long enough to be replaced.
    await sleep(500 + dice() * 5500)
    signal(pid, 'SIGCONT')
    return since
  },
})

/**
 * Two faults at once: one at an actor, and one of another kind that begins up to a second later.
 *
 * @param faults All that there are.
 */
export function pairOf(faults: readonly Fault[], dice: Dice): Fault {
  const first = pick(
    faults.filter(({ at }) => at === 'actor'),
    dice,
  )
  const second = pick(
    faults.filter((fault) => fault !== first && fault.at !== 'primary'),
    dice,
  )
  return {
    name: `${first.name} + ${second.name}`,
    silent: false,
    at: 'node',
    async strike(system, dice) {
      const delayMs = dice() * 1000
      // Dice of its own: they roll at the same time.
      const others = diceOf(dice() * 2 ** 31)
      const [one, other] = await Promise.all([
        first.strike(system, dice),
        sleep(delayMs).then(() => second.strike(system, others)),
      ])
      return Math.max(one, other)
    },
  }
}

/** Ends the primary with SIGTERM, which it must obey whatever is wrong around it. */
export async function drain(system: System): Promise<void> {
  system.kill('SIGTERM')
  const [code] = await system.exited
  if (code !== 0) throw new Error(`A drain ended with ${code}:\n${system.output.slice(-2000)}`)
}

/** Sets a soft limit of a running process. */
export function limit(pid: number, resource: 'fsize' | 'nofile' | 'nproc', to: number | 'unlimited'): void {
  if (!isAlive(pid)) return
  // In a container root may not be allowed to; the user of a process always is.
  const user = String(uidOf(pid))
  const asUser = uidOf(pid) === process.getuid?.() ? [] : ['--reuid', user, '--regid', user, '--clear-groups']
  execFileSync('setpriv', [...asUser, 'prlimit', '--pid', `${pid}`, `--${resource}=${to}:`])
}

/** The soft limit of this process, which what it starts has too. */
function ownLimit(resource: 'nofile' | 'nproc'): number | 'unlimited' {
  const args = ['--pid', `${process.pid}`, `--${resource}`, '--raw', '--noheadings', '--output', 'SOFT']
  const soft = String(execFileSync('prlimit', args)).trim()
  return soft === 'unlimited' ? soft : Number(soft)
}

/** Has the node write more log lines than any buffer takes. */
async function makeNoise(system: System): Promise<void> {
  const client = async () => {
    for (let count = 0; count < NOISE_COUNT / NOISE_CLIENTS; count++) {
      await told(() => fetch(`${system.url}/livez`).then((response) => response.text()))
    }
  }
  await Promise.all(Array.from({ length: NOISE_CLIENTS }, client))
}

/** While log lines go nowhere: a killed worker is replaced, a message is delivered. */
export async function assertGoesOn(system: System, dice: Dice): Promise<void> {
  const { name, pid } = await anyOf(system, pick(['logging', 'messages'], dice), dice)
  signal(pid, 'SIGKILL')
  await makeNoise(system)
  await system.until(`${name} is replaced`, async () => {
    const actor = await system.actor(name)
    return actor.pid !== pid && actor.state === 'ready'
  })
}

/** Lets the log lines of the node go to a file, or to a pipe: with a restart, where they do not. */
export async function logTo(system: System, logFile: string | undefined): Promise<void> {
  if ((system.primary.stdout === null) === (logFile !== undefined)) return
  await drain(system)
  system.logFile = logFile
  await system.begin()
}

/** The faults of a node on the embedded backend, but those of its disks. */
export const FAULTS: readonly Fault[] = [
  ...ROLES.map(kill),
  ...ROLES.map(freeze),
  {
    name: 'SIGKILL of all workers',
    silent: false,
    at: 'node',
    async strike(system) {
      for (const { pid } of await told(() => system.actors())) signal(pid, 'SIGKILL')
      return performance.now()
    },
  },
  {
    name: 'SIGKILL of the primary',
    silent: false,
    at: 'primary',
    async strike(system, dice) {
      system.kill('SIGKILL')
      await system.exited
      await sleep(dice() * 300)
      system.spawn()
      return performance.now()
    },
  },
  {
    name: 'SIGTERM of the primary',
    silent: false,
    at: 'primary',
    async strike(system) {
      await drain(system)
      system.spawn()
      return performance.now()
    },
  },
  {
    name: 'SIGTERM of a worker',
    silent: true,
    at: 'actor',
    async strike(system, dice) {
      signal((await anyOf(system, pick(ROLES, dice), dice)).pid, 'SIGTERM')
      return performance.now()
    },
  },
  {
    name: 'a frozen node',
    silent: false,
    at: 'node',
    async strike(system, dice) {
      const pids = [system.primary.pid!, ...(await told(() => system.actors())).map(({ pid }) => pid)]
      for (const pid of pids) signal(pid, 'SIGSTOP')
      await sleep(1000 + dice() * 5000)
      for (const pid of pids) signal(pid, 'SIGCONT')
      return performance.now()
    },
  },
  {
    name: 'a slow logging actor',
    silent: true,
    at: 'actor',
    async strike(system, dice) {
      const { pid } = await anyOf(system, 'logging', dice)
      for (let turn = 0; turn < 8; turn++) {
        signal(pid, 'SIGSTOP')
        await sleep(300)
        signal(pid, 'SIGCONT')
        await sleep(50)
      }
      return performance.now()
    },
  },
  {
    name: 'scaling',
    silent: true,
    at: 'actors',
    async strike(system, dice) {
      const role = pick(ROLES, dice)
      for (const count of [1 + Math.floor(dice() * 4), role === 'logging' ? 3 : 2]) {
        await told(() => system.send('PUT', `/actors/${role}`, { count }))
      }
      return performance.now()
    },
  },
  {
    name: 'a rolling restart',
    silent: true,
    at: 'actors',
    async strike(system, dice) {
      const role = pick(ROLES, dice)
      await told(() => system.send('POST', `/actors/${role}/restart`))
      return performance.now()
    },
  },
  {
    name: 'a failing fork',
    silent: true,
    at: 'node',
    async strike(system, dice) {
      const { pid } = system.primary
      // Root may have as many processes as it likes.
      const resource = uidOf(pid!) === 0 || dice() < 0.5 ? 'nofile' : 'nproc'
      const before = ownLimit(resource)
      limit(pid!, resource, resource === 'nofile' ? 10 : 1)
      signal((await anyOf(system, pick(['logging', 'messages'], dice), dice)).pid, 'SIGKILL')
      await sleep(200 + dice() * 1300)
      limit(pid!, resource, before)
      return performance.now()
    },
    postsWithinMs: POSTS_WITHIN_MS,
  },
  {
    name: 'a reader of the log lines that stands still',
    silent: false,
    at: 'primary',
    async strike(system, dice) {
      await logTo(system, undefined)
      system.primary.stdout!.pause()
      await assertGoesOn(system, dice)
      system.primary.stdout!.resume()
      await system.until('the count is logged', async () => DROPPED.test(system.output))
      return performance.now()
    },
    postsWithinMs: POSTS_WITHIN_MS,
  },
]
