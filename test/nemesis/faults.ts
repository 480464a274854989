/** What the nemesis does to a node: every fault strikes, ends by itself, and says from when recovery counts. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Actor } from '../support/running-system.ts'
import { fill } from '../support/small-disk.ts'
import { isAlive, type System, sleep } from '../support/system.ts'
import { type Dice, diceOf } from './dice.ts'

/** One kind of fault. */
export interface Fault {
  name: string
  /** Whether no client may notice: not one request fails. */
  silent: boolean
  /** What it strikes. One at an actor may come together with any other, but with the end of the primary. */
  at: 'actor' | 'actors' | 'node' | 'primary' | 'member' | 'disk'
  /** Strikes; resolves with the moment, in ms of `performance.now()`, from which the node may recover. */
  strike(system: System, dice: Dice): Promise<number>
}

type Role = Actor['role']
const ROLES: readonly Role[] = ['facade', 'logging', 'messages']
const FILLING = 'filling'
const ATTEMPTS = 20

const pick = <T>(from: readonly T[], dice: Dice): T => from[Math.floor(dice() * from.length)]!

/** Asks until it is answered: a kept-alive connection may go down with the facade of the fault before. */
async function told<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof TypeError) || attempt === ATTEMPTS) throw error
      await sleep(100)
    }
  }
}

async function anyOf(system: System, role: Role, dice: Dice): Promise<Actor> {
  const actors = await told(() => system.actors())
  return pick(
    actors.filter((actor) => actor.role === role),
    dice,
  )
}

function signal(pid: number, name: NodeJS.Signals): void {
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

/** The faults of a node on the embedded backend, but a full disk. */
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
      system.kill('SIGTERM')
      const [code] = await system.exited
      if (code !== 0) throw new Error(`A drain ended with ${code}:\n${system.output.slice(-2000)}`)
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
]

/** A full disk, for data on a file system of its own. */
export const FULL_DISK: Fault = {
  name: 'a full disk',
  silent: false,
  at: 'disk',
  async strike(system, dice) {
    const path = join(system.data, FILLING)
    fill(path)
    const endAt = performance.now() + 1000 + dice() * 2000
    while (performance.now() < endAt) {
      // What the node itself gives back is taken too.
      fill(path)
      await sleep(50)
    }
    rmSync(path)
    return performance.now()
  },
}
