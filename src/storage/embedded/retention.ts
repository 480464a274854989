/**
 * Removes log segments that nobody needs: the youngest row older than the retention, and every lane past it.
 * What was not delivered is not removed.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { idAt } from '../ids.ts'
import { takeLock } from './lock-file.ts'
import { type LogName, listLogs } from './log-files.ts'
import { LogReader } from './log-reader.ts'
import type { EmbeddedOptions } from './options.ts'
import { homeName } from './queue.ts'
import { openToRead, removeFile } from './sqlite.ts'

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
    // A writer's last one stays, so that no name is ever used again.
    if (log.name === options.current || logs[index + 1]?.writer !== log.writer) continue
    try {
      if (log.writer === writer ? !isRemovable(log, options) : writer !== 1 || !isOrphan(log, options))
        continue
      removeFile(join(data, log.name))
      logger.info({ segment: log.name }, 'old log segment removed')
    } catch (error) {
      // Its readers report a damaged one. It must not keep the others.
      logger.debug({ segment: log.name, err: error }, 'old log segment not removed')
    }
  }
}

/** A removable segment whose writer does not run. */
function isOrphan(log: LogName, options: RetentionOptions): boolean {
  if (!isRemovable(log, options)) return false
  const lock = takeLock(join(options.data, `log-${log.writer}.lock`))
  lock?.release()
  return lock !== undefined
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
      const row = database.prepare('SELECT seq FROM cursor WHERE file = ?').get(reader.file)
      const outcome = database.prepare(
        'SELECT 1 FROM message WHERE id = ?1 UNION ALL SELECT 1 FROM dead WHERE id = ?1 LIMIT 1',
      )
      for (let seq = (row?.['seq'] as number) ?? 0; ; ) {
        const rows = reader.ofLane(lane, seq, CHUNK_COUNT)
        if (rows.some(({ id }) => outcome.get(id) === undefined)) return false
        if (rows.length < CHUNK_COUNT) return true
        seq = rows.at(-1)!.seq
      }
    }
    const settled = isEverySettled()
    database.close() // When it throws, `openToRead` closes it.
    return settled
  })
}
