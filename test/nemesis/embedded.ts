/** The nemesis' arena on the embedded backend. */
import { chownSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { History } from '../support/history.ts'
import { readOnlyDisk, smallDisk } from '../support/small-disk.ts'
import { System } from '../support/system.ts'
import { diskFaults } from './disk-faults.ts'
import { FAULTS } from './faults.ts'
import { excusedOf, type Loss } from './losses.ts'
import type { Arena, Ended } from './nemesis.ts'

/** Enough for a deal: the write-ahead logs of 19 files take up to 16 MiB each before they are checkpointed. */
const DATA_MB = 512
/** Enough for a line about each request of a deal. */
const LOG_MB = 256
const ARGS = ['--facade', '2', '--logging', '3', '--messages', '2', '--log-level', 'debug']
/** Somebody who is not root. */
const NOBODY = 65534
const AS_NOBODY = ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups']

/** A node that is not root's, on disks of its own, where there can be some; else without their faults. */
export async function embeddedArena(context: Ended): Promise<Arena> {
  const memory = smallDisk(context, 2 * DATA_MB)
  const disk = memory === undefined ? undefined : readOnlyDisk(context, DATA_MB, memory)
  const log = disk && smallDisk(context, LOG_MB)
  if (!log) return { system: await System.start(context, ARGS), faults: FAULTS }
  const [data, logFile] = [join(disk!.path, 'data'), join(log, 'mailroom.log')]
  mkdirSync(data)
  closeSync(openSync(logFile, 'a'))
  for (const path of [data, logFile]) chownSync(path, NOBODY, NOBODY)
  const losses: Loss[] = []
  const system = await System.start(context, ARGS, { data, logFile, wrap: AS_NOBODY })
  const excused = (history: History) => excusedOf(history, losses)
  return { system, faults: [...FAULTS, ...diskFaults({ data: disk!, log, logFile }, losses)], excused }
}
