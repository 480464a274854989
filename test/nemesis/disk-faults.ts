/** What the nemesis does to the disks and the files of a node on the embedded backend. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FragileDisk, fill } from '../support/small-disk.ts'
import { childrenOf, isAlive, type System, sleep } from '../support/system.ts'
import type { Dice } from './dice.ts'
import {
  anyOf,
  assertGoesOn,
  DROPPED,
  drain,
  type Fault,
  limit,
  logTo,
  POSTS_WITHIN_MS,
  pick,
  signal,
  told,
} from './faults.ts'
import { type Loss, Removal } from './losses.ts'

const FILLING = 'filling'
const FOREIGN = 'a file of somebody else'
const postsWithinMs = POSTS_WITHIN_MS

/** Where a node under the nemesis has its files. */
export interface Disks {
  /** Of the data. */
  data: FragileDisk
  /** Of the log lines. */
  log: string
  logFile: string
}

/** All faults of these disks. @param losses Is given what each removal took. */
export function diskFaults(disks: Disks, losses: Loss[]): Fault[] {
  return [
    full,
    fullLog(disks),
    readOnly(disks),
    noRight,
    tooLarge,
    removal('a removed file', oneOf, losses),
    removal('all files removed', (names) => names, losses),
  ]
}

/** A worker that logs or delivers. */
async function killOne(system: System, dice: Dice): Promise<void> {
  signal((await anyOf(system, pick(['logging', 'messages'], dice), dice)).pid, 'SIGKILL')
}

/** No room for data. */
const full: Fault = {
  ...{ name: 'a full disk', silent: false, at: 'disk', postsWithinMs },
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

/** No room for log lines: they are dropped and counted, and nobody waits for them. */
function fullLog({ log, logFile }: Disks): Fault {
  return {
    ...{ name: 'a full disk of the log lines', silent: false, at: 'primary', postsWithinMs },
    async strike(system, dice) {
      await logTo(system, logFile)
      const before = readFileSync(logFile).length
      fill(join(log, FILLING))
      await assertGoesOn(system, dice)
      rmSync(join(log, FILLING))
      await system.until('the count is logged', async () =>
        DROPPED.test(readFileSync(logFile).subarray(before).toString()),
      )
      return performance.now()
    },
  }
}

/** The kernel makes the file system read-only, for good: it is repaired while the node is stopped. */
function readOnly({ data }: Disks): Fault {
  return {
    ...{ name: 'a read-only file system', silent: false, at: 'primary', postsWithinMs },
    async strike(system, dice) {
      data.goReadOnly()
      if (dice() < 0.5) await killOne(system, dice)
      await untilNamed(system)
      await sleep(dice() * 1000)
      await drain(system)
      data.repair()
      system.spawn()
      return performance.now()
    },
  }
}

/** Nobody may create files in the data directory; for a node that does not run as root. */
const noRight: Fault = {
  ...{ name: 'a data directory without the right to write', silent: false, at: 'disk', postsWithinMs },
  async strike(system, dice) {
    chmodSync(system.data, 0o555)
    await killOne(system, dice)
    await sleep(500 + dice() * 1500)
    chmodSync(system.data, 0o755)
    return performance.now()
  },
}

/** A limit of the size of files, of all processes or of those of a kind. */
const tooLarge: Fault = {
  ...{ name: 'a limit of the size of files', silent: false, at: 'disk', postsWithinMs },
  async strike(system, dice) {
    const role = pick([undefined, 'logging', 'messages'] as const, dice)
    const actors = await told(() => system.actors())
    const pids = actors.filter((actor) => role === undefined || actor.role === role).map(({ pid }) => pid)
    if (role === undefined) pids.push(system.primary.pid!)
    const bytes = Math.floor(10_000 + dice() * 200_000)
    for (const pid of pids) limit(pid, 'fsize', bytes)
    await sleep(1000 + dice() * 1500)
    // A worker that was started meanwhile has the limit of the primary.
    for (const pid of [system.primary.pid!, ...childrenOf(system.primary.pid!)])
      limit(pid, 'fsize', 'unlimited')
    return performance.now()
  },
}

/** One file of the log or of a lane, with what belongs to it or without; or the write-ahead logs of all. */
function oneOf(names: readonly string[], dice: Dice): string[] {
  if (dice() < 0.25) return names.filter((name) => name.endsWith('-wal'))
  const pattern = pick([/^log-.*\.db$/, /^home-.*\.db$/], dice)
  const base = pick(
    names.filter((name) => pattern.test(name)),
    dice,
  )
  const parts = names.filter((name) => name.startsWith(base))
  return pick([parts, [base], parts.slice(1)], dice)
}

/** Files are removed under the running node. What was in them is lost; the node is restarted, as its operator is told. */
function removal(
  name: string,
  choose: (names: readonly string[], dice: Dice) => readonly string[],
  losses: Loss[],
): Fault {
  return {
    ...{ name, silent: false, at: 'primary', postsWithinMs },
    async strike(system, dice) {
      const names = readdirSync(system.data).sort()
      const chosen = choose(names, dice)
      const removed = new Removal(system.data, chosen)
      let foreign: string[] = []
      if (dice() < 0.5) {
        if (dice() < 0.5) foreign = replaceBy(FOREIGN, system.data, chosen)
        await untilNamed(system)
      } else await killOne(system, dice)
      await sleep(dice() * 2000)
      const pids = childrenOf(system.primary.pid!)
      if (dice() < 0.5) await drain(system)
      else system.kill('SIGKILL')
      await system.exited
      await system.until('all processes have ended', async () => !pids.some(isAlive))
      for (const path of foreign) {
        assert.equal(readFileSync(path, 'utf8'), FOREIGN, `${path} is not overwritten`)
        rmSync(path)
      }
      losses.push(removed.loss())
      system.spawn()
      return performance.now()
    },
  }
}

/**
 * Puts files of somebody else, which the node may write, under the names of data files; not under those of indexes,
 * which are nobody's and which SQLite writes anew.
 *
 * @returns Their paths.
 */
function replaceBy(text: string, data: string, names: readonly string[]): string[] {
  const { uid, gid } = statSync(data)
  const paths = names.filter((name) => /\.db(-wal)?$/.test(name)).map((name) => join(data, name))
  for (const path of paths) {
    writeFileSync(path, text)
    chownSync(path, uid, gid)
  }
  return paths
}

/** Waits until `/readyz` is 503, or names a file as degraded: others take posts. */
async function untilNamed(system: System): Promise<void> {
  await system.until('it is named', async () => {
    const response = await fetch(`${system.url}/readyz`)
    const text = await response.text()
    return response.status === 503 || /"degraded":.*while Mailroom runs/.test(text)
  })
}
