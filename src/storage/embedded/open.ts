/** The embedded backend: durable, on one machine, nothing to install. Its composition. */

import type { Clock, Random } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { HOUSEKEEPING_MS } from '../../runtime/timings.ts'
import type { LaneReport } from '../lane-choice.ts'
import type { Backend } from '../ports.ts'
import { Damage } from './damage.ts'
import { EmbeddedLog } from './log.ts'
import { LogFiles } from './log-files.ts'
import { LogWriter } from './log-writer.ts'
import { EmbeddedQueue } from './queue.ts'
import { removeOldSegments } from './retention.ts'

/** A log goes in whole segments: of this part of the retention each. */
const SEGMENTS_PER_RETENTION = 8

/** What one process needs of the backend. */
export interface EmbeddedOptions {
  /** Path of a data directory that `openDataDirectory` has made ready. */
  data: string
  laneCount: number
  clock: Clock
  random: Random
  logger: Logger
  retentionMs: number
  /** Number of the logging actor this process hosts; without it the log is only read here. */
  writer?: number
  /** Called when the log cannot be written any more by this process, which must end. */
  onBroken?: (error: unknown) => void
  /** For a facade: how busy the lanes' holders are. */
  depths?: LaneReport
  /** For a facade: tells a lane's holder that something waits there. */
  wakeRemote?: (lane: number) => void
  /** About the size at which a log segment ends. Default 256 MiB. */
  segmentBytes?: number
}

/**
 * Opens the backend for one process.
 *
 * @throws {MailroomError} `MR_DATA_LOCKED` when another process writes this logging actor's files.
 */
export function openEmbedded(options: EmbeddedOptions): Backend {
  const { data, laneCount, clock, logger, retentionMs, writer: number, depths, wakeRemote } = options
  const damage = new Damage(data, logger)
  const files = new LogFiles(data, damage)
  const segmentAgeMs = retentionMs / SEGMENTS_PER_RETENTION
  const onBroken = options.onBroken ?? (() => {})
  const writer =
    number === undefined
      ? undefined
      : new LogWriter({
          data,
          writer: number,
          clock,
          logger,
          segmentAgeMs,
          segmentBytes: options.segmentBytes,
          onBroken,
        })
  const queue = new EmbeddedQueue({ data, laneCount, clock, retentionMs, files, damage, depths, wakeRemote })

  const keepHouse = async () => {
    try {
      await queue.removeOld()
      if (writer === undefined) return
      writer.rotate()
      removeOldSegments({
        data,
        laneCount,
        retentionMs,
        clock,
        logger,
        writer: number!,
        current: () => writer.current,
      })
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
