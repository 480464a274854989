/** The embedded backend: durable, on one machine, nothing to install. Its composition. */

import { HOUSEKEEPING_MS } from '../../runtime/timings.ts'
import type { Backend } from '../ports.ts'
import { Damage } from './damage.ts'
import { EmbeddedLog } from './log.ts'
import { LogFiles } from './log-files.ts'
import { LogWriter } from './log-writer.ts'
import type { EmbeddedOptions } from './options.ts'
import { EmbeddedQueue } from './queue.ts'
import { removeOldSegments } from './retention.ts'

/** A log goes in whole segments: of this part of the retention each. */
const SEGMENTS_PER_RETENTION = 8

/**
 * Opens the backend for one process.
 *
 * @throws {MailroomError} `MR_DATA_LOCKED` when another process writes this logging actor's files.
 */
export function openEmbedded(options: EmbeddedOptions): Backend {
  const { data, clock, logger, retentionMs, writer: number, onBroken = () => {} } = options
  const damage = new Damage(data, logger)
  const files = new LogFiles(data, damage)
  const segmentAgeMs = retentionMs / SEGMENTS_PER_RETENTION
  const writer =
    number === undefined ? undefined : new LogWriter({ ...options, writer: number, segmentAgeMs, onBroken })
  const queue = new EmbeddedQueue({ ...options, files, damage })
  const keepHouse = async () => {
    try {
      await queue.removeOld()
      writer?.rotate()
      if (writer !== undefined)
        removeOldSegments({ ...options, writer: number!, current: () => writer.current })
    } catch (error) {
      logger.warn({ err: error }, 'old messages could not be removed')
    }
  }
  const cancel = clock.every(HOUSEKEEPING_MS, () => void keepHouse())

  let closed = false
  return {
    log: new EmbeddedLog({ files, writer, clock, retentionMs }),
    queue,
    missing: () => writer?.missing() ?? [],
    damaged: () => damage.all(),
    async close() {
      if (closed) return
      closed = true
      cancel()
      queue.close()
      writer?.close()
      files.close()
    },
  }
}
