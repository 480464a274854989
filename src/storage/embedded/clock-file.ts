/** The node's time, as it outlives the node: `clock.json`, and the newest id of the log. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../runtime/logger.ts'
import type { StoredTime } from '../../runtime/node-time.ts'
import { timeOf } from '../ids.ts'
import { Guard, PRIVATE } from './guard.ts'
import { listLogs } from './log-files.ts'
import { LogReader } from './log-reader.ts'

const NAME = 'clock.json'

/** The line that was stored last; undefined when there is none, or a damaged one. @throws When it cannot be read. */
export function readTime(data: string): StoredTime | undefined {
  const path = join(data, NAME)
  if (!existsSync(path)) return undefined
  const text = readFileSync(path, 'utf8')
  try {
    const { at, time, pace, leaps, isSet, boot } = JSON.parse(text)
    const numbers = [at, time, pace, ...leaps.flatMap(({ to, by }: Record<string, unknown>) => [to, by])]
    if (!numbers.every(Number.isFinite)) return undefined
    return { at, time, pace, leaps, isSet: isSet === true, boot: String(boot) }
  } catch {
    return undefined // Damaged: the log has the newest id.
  }
}

/**
 * How lines are stored durably, for `TimeKeeper`. A line that cannot be stored is logged once for each reason.
 *
 * @param identity What the data directory must be: no other one that gets its path is written.
 */
export function timeStore(
  data: string,
  identity: string | undefined,
  logger: Logger,
): (time: StoredTime) => boolean {
  const path = join(data, NAME)
  const directory = new Guard([[data, identity]])
  let lastProblem = ''
  return (time) => {
    try {
      directory.check()
      writeFileSync(`${path}.new`, `${JSON.stringify(time)}\n`, { flush: true, mode: PRIVATE.file })
      renameSync(`${path}.new`, path)
      lastProblem = ''
      return true
    } catch (error) {
      const { message } = error as Error
      if (message !== lastProblem) logger.error({ err: error }, `${NAME} cannot be written`)
      lastProblem = message
      return false
    }
  }
}

/** The instant of the newest id of the log; undefined when the log is empty. */
export function newestTime(data: string): number | undefined {
  const newest = listLogs(data).flatMap(({ name }) => youngestOf(join(data, name)) ?? [])
  return newest.length === 0 ? undefined : timeOf(newest.sort().at(-1)!)
}

function youngestOf(path: string): string | undefined {
  try {
    const reader = LogReader.open(path)
    try {
      return reader.youngest()
    } finally {
      reader.close()
    }
  } catch {
    return undefined // Its own reader reports what is wrong with it.
  }
}
