/** The nemesis' arena on the embedded backend. */
import { join } from 'node:path'
import { smallDisk } from '../support/small-disk.ts'
import { System } from '../support/system.ts'
import { FAULTS, FULL_DISK } from './faults.ts'
import type { Arena, Ended } from './nemesis.ts'

/** Enough for a deal: the write-ahead logs of 19 files take up to 16 MiB each before they are checkpointed. */
const DISK_MB = 512
const ARGS = ['--facade', '2', '--logging', '3', '--messages', '2']

/** A node on a disk of its own, where there can be one; else without the fault that fills it. */
export async function embeddedArena(context: Ended): Promise<Arena> {
  const disk = smallDisk(context, DISK_MB)
  if (disk === undefined) return { system: await System.start(context, ARGS), faults: FAULTS }
  const system = await System.start(context, ARGS, { data: join(disk, 'data') })
  return { system, faults: [...FAULTS, FULL_DISK] }
}
