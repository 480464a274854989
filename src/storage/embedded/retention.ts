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

/** What is needed to remove segments. */
export interface RetentionOptions
  extends Pick<EmbeddedOptions, 'data' | 'laneCount' | 'retentionMs' | 'clock' | 'logger'> {
  /** Number of the logging actor that does it: its own segments, and as number 1 those of actors now gone. */
  writer: number
  /** The segment being written. */
  current: () => string
}

/** Removes what may be removed now. */
export function removeOldSegments(options: RetentionOptions): void {
  const { data, writer, logger } = options
  const logs = listLogs(data)
  for (const [index, log] of logs.entries()) {
    // A writer's last one stays, so that no name is ever used again.
    if (log.name === options.current() || logs[index + 1]?.writer !== log.writer) continue
    if (log.writer === writer ? !isRemovable(log, options) : writer !== 1 || !isOrphan(log, options)) continue
    removeFile(join(data, log.name))
    logger.info({ segment: log.name }, 'old log segment removed')
  }
}

/** A removable segment whose writer does not run. */
function isOrphan(log: LogName, options: RetentionOptions): boolean {
  if (!isRemovable(log, options)) return false
  const lock = takeLock(join(options.data, `log-${log.writer}.lock`))
  lock?.release()
  return lock !== undefined
}

function isRemovable({ name }: LogName, { data, laneCount, retentionMs, clock }: RetentionOptions): boolean {
  const reader = LogReader.open(join(data, name))
  try {
    const youngest = reader.youngest()
    if (youngest === undefined || youngest >= idAt(clock.now() - retentionMs)) return false
    for (let lane = 0; lane < laneCount; lane++) {
      const { count, last } = reader.countOf(lane, 0)
      if (count > 0 && cursorOf(join(data, homeName(lane)), reader.file) < last) return false
    }
    return true
  } finally {
    reader.close()
  }
}

/** Up to which row of a log file a lane has been consumed. */
function cursorOf(home: string, file: string): number {
  if (!existsSync(home)) return 0
  return openToRead(home, ({ database }) => {
    const row = database.prepare('SELECT seq FROM cursor WHERE file = ?').get(file)
    database.close()
    return (row?.['seq'] as number) ?? 0
  })
}
