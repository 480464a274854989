/** The nemesis' arena on the embedded backend. */
import { join } from 'node:path'
import { smallDisk } from '../support/small-disk.ts'
import { System } from '../support/system.ts'
import { FAULTS, FULL_DISK } from './faults.ts'
import type { Arena, Ended } from './nemesis.ts'

/** Enough for a deal, and filled quickly. */
const DISK_MB = 256
const ARGS = ['--facade', '2', '--logging', '3', '--messages', '2']

/** A node on a disk of its own, where there can be one; else without the fault that fills it. */
export async function embeddedArena(context: Ended): Promise<Arena> {
  const disk = smallDisk(context, DISK_MB)
  if (disk === undefined) return { system: await System.start(context, ARGS), faults: FAULTS }
  const system = await System.start(context, ARGS, { data: join(disk, 'data') })
  return { system, faults: [...FAULTS, FULL_DISK] }
}
