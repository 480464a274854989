/**
 * Removes log segments that nobody needs: the youngest row older than the retention, and every lane past it.
 * What was not delivered is not removed.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { idAt } from '../ids.ts'
import { takeLock } from './lock-file.ts'
import { type LogName, listLogs } from './log-files.ts'
import { LOG_SCHEMA, LogReader, lastOf, type RowHead } from './log-reader.ts'
import type { EmbeddedOptions } from './options.ts'
import { homeName } from './queue.ts'
import { createFile, openToRead, removeFile } from './sqlite.ts'

const CHUNK_COUNT = 128

/** What is needed to remove segments. */
export interface RetentionOptions
  extends Pick<EmbeddedOptions, 'data' | 'laneCount' | 'retentionMs' | 'clock' | 'logger'> {
  /** Number of the logging actor that does it: its own segments, and as number 1 those of actors now gone. */
  writer: number
  /** The segment being written. */
  current: string | undefined
}

/** Removes what may be removed now. Needs no room on the disk. */
export function removeOldSegments(options: RetentionOptions): void {
  const { data, writer, logger } = options
  const logs = listLogs(data)
  for (const [index, log] of logs.entries()) {
    const isLast = logs[index + 1]?.writer !== log.writer
    try {
      const isRemoved =
        log.writer === writer
          ? log.name !== options.current && !isLast && removeOwn(log, options)
          : writer === 1 && removeOrphan(log, isLast, options)
      if (isRemoved) logger.info({ segment: log.name }, 'old log segment removed')
    } catch (error) {
      // Its readers report a damaged one. It must not keep the others.
      logger.debug({ segment: log.name, err: error }, 'old log segment not removed')
    }
  }
}

/** @returns False when it is still needed. */
function removeOwn(log: LogName, options: RetentionOptions): boolean {
  if (!isRemovable(log, options)) return false
  removeFile(join(options.data, log.name))
  return true
}

/**
 * Removes a segment whose writer does not run. Its last one leaves an empty successor, so that no name is ever used again.
 *
 * @returns False when it is still needed, or its writer runs.
 */
function removeOrphan(log: LogName, isLast: boolean, options: RetentionOptions): boolean {
  const { data } = options
  if (!isRemovable(log, options)) return false
  const lock = takeLock(join(data, `log-${log.writer}.lock`))
  if (lock === undefined) return false
  try {
    if (isLast) createFile(join(data, `log-${log.writer}.${log.segment + 1}.db`), LOG_SCHEMA)
    removeFile(join(data, log.name))
    return true
  } finally {
    lock.release()
  }
}

/** True when a segment has rows, all of them older than the retention and settled. */
export function isRemovable(
  { name }: Pick<LogName, 'name'>,
  { data, laneCount, retentionMs, clock }: Omit<RetentionOptions, 'writer' | 'current' | 'logger'>,
): boolean {
  const reader = LogReader.open(join(data, name))
  try {
    const youngest = reader.youngest()
    if (youngest === undefined || youngest >= idAt(clock.ago(retentionMs))) return false
    for (let lane = 0; lane < laneCount; lane++) {
      if (reader.countOf(lane, 0).count > 0 && !isSettled(reader, lane, join(data, homeName(lane))))
        return false
    }
    return true
  } finally {
    reader.close()
  }
}

/** True when a lane's home knows the outcome of all the lane's rows. The cursor may lag, as long as the disk is full. */
function isSettled(reader: LogReader, lane: number, home: string): boolean {
  if (!existsSync(home)) return false
  return openToRead(home, ({ database }) => {
    const isEverySettled = () => {
      const file = database.prepare('SELECT cursor FROM file WHERE id = ?').get(reader.file)
      const outcomes = database.prepare(
        `SELECT (SELECT ifnull(sum(count), 0) FROM delivered WHERE id BETWEEN ?1 AND ?2)
          + (SELECT count(*) FROM dead WHERE id BETWEEN ?1 AND ?2) AS count`,
      )
      const isSettledRow = ({ id, count }: RowHead) =>
        outcomes.get(id, lastOf({ id, count }))!['count'] === count
      for (let seq = (file?.['cursor'] as number) ?? 0; ; ) {
        const rows = reader.headsOf(lane, seq, CHUNK_COUNT)
        if (!rows.every(isSettledRow)) return false
        if (rows.length < CHUNK_COUNT) return true
        seq = rows.at(-1)!.seq
      }
    }
    const settled = isEverySettled()
    database.close() // When it throws, `openToRead` closes it.
    return settled
  })
}
