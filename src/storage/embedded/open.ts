/** The embedded backend: durable, on one machine, nothing to install. Its composition. */

import {
  DISK_PROBE_MS,
  HOME_SYNC_MS,
  HOUSEKEEPING_MS,
  LANES_POLL_MS,
  QUIET_PROBE_MS,
} from '../../runtime/timings.ts'
import { headroomBytes, MESSAGE_DEFAULT_BYTES } from '../limits.ts'
import type { Backend } from '../ports.ts'
import { Damage } from './damage.ts'
import { DirectoryVersion, isFull } from './guard.ts'
import { EmbeddedLog } from './log.ts'
import { LogFiles } from './log-files.ts'
import { LogWriter } from './log-writer.ts'
import type { EmbeddedOptions } from './options.ts'
import { EmbeddedQueue } from './queue.ts'
import { Reserve, spendReserve } from './reserve.ts'
import { isRemovable, removeOldSegments } from './retention.ts'

/** The logging actor that keeps the reserve. */
const RESERVE_KEEPER = 1
/** A log goes in whole segments: of this part of the retention each. */
const SEGMENTS_PER_RETENTION = 8

/**
 * Opens the backend for one process.
 *
 * @throws {MailroomError} `MR_DATA_LOCKED` when another process writes this logging actor's files.
 */
export function openEmbedded(options: EmbeddedOptions): Backend {
  const { data, clock, logger, retentionMs, writer: number, onBroken = () => {} } = options
  const directoryVersion = new DirectoryVersion(data, clock)
  const damage = new Damage(data, directoryVersion, logger)
  const files = new LogFiles({ ...options, directoryVersion, damage })
  const segmentAgeMs = retentionMs / SEGMENTS_PER_RETENTION
  const headroom = headroomBytes(options.maxMessageBytes ?? MESSAGE_DEFAULT_BYTES)
  const writer =
    number === undefined
      ? undefined
      : new LogWriter({ ...options, writer: number, segmentAgeMs, headroom, onBroken })
  const queue = new EmbeddedQueue({ ...options, files, damage })

  let closed = false
  /** By step: why it failed last, which is logged once. */
  const problems = new Map<string, string>()
  /** Each step is tried, also when an earlier one failed. */
  const tryAll = async (steps: Record<string, () => unknown>) => {
    for (const [name, step] of Object.entries(steps)) {
      if (closed) return
      try {
        await step()
        problems.delete(name)
      } catch (error) {
        const { message } = error as Error
        if (message !== problems.get(name)) logger.warn({ err: error, step: name }, 'housekeeping failed')
        problems.set(name, message)
      }
    }
  }
  /** Removes what is older than the retention: first what needs no room. */
  const keepHouse = () =>
    tryAll({
      'remove segments': () =>
        writer && removeOldSegments({ ...options, writer: number!, current: writer.current }),
      'discard the segment': () => {
        const name = writer?.current
        if (name !== undefined && isFull(data, headroom) && isRemovable({ name }, options)) writer!.discard()
      },
      'remove messages': () => queue.removeOld(),
      // Texts that were delivered or purged are in them; a reader may have made them long.
      'empty the write-ahead logs': () => queue.checkpoint(),
      'empty the segment’s write-ahead log': () => writer?.checkpoint(),
      'rotate the segment': () => writer?.rotate(),
      'index the keys': () => writer?.indexKeys(),
    })
  let watched = { version: 0, at: Number.NEGATIVE_INFINITY }
  const watch = () => {
    const now = { version: directoryVersion.read(), at: clock.monotonic() }
    const isQuiet = now.version === watched.version && now.at < watched.at + QUIET_PROBE_MS
    if (!isQuiet) watched = now
    return tryAll({
      'watch the segment': () => writer?.watch(),
      'watch the log': () => isQuiet || files.watch(),
      'watch the lanes': () => queue.watch(isQuiet),
    })
  }
  const reserve =
    number === RESERVE_KEEPER ? new Reserve(data, headroom, clock, options.dataIdentity) : undefined
  /** On a nearly full disk room is made at once. */
  const makeRoom = async () => {
    if (reserve !== undefined) await tryAll({ 'keep the reserve': () => reserve.keep() })
    if (!isFull(data, headroom)) return
    await tryAll({ 'spend the reserve': () => spendReserve(data) })
    await keepHouse()
    await tryAll({
      'checkpoint the segment': () => writer?.checkpoint(),
      'checkpoint the lanes': () => queue.checkpoint(),
    })
  }
  let looking = Promise.resolve()
  const timers = [
    clock.every(HOUSEKEEPING_MS, () => {
      looking = looking.then(keepHouse)
    }),
    clock.every(DISK_PROBE_MS, () => {
      looking = looking.then(watch).then(makeRoom)
    }),
    clock.every(LANES_POLL_MS, () => queue.poll()),
    clock.every(HOME_SYNC_MS, () => void tryAll({ 'sync the lanes': () => queue.sync() })),
  ]

  return {
    log: new EmbeddedLog({ files, writer, clock, retentionMs }),
    queue,
    missing: () => [...new Set([...(writer?.missing() ?? []), ...queue.missing()])],
    damaged: () => damage.all(),
    reports: () => [],
    confirmLosses: async () => {},
    async close() {
      if (closed) return
      closed = true
      for (const cancel of timers) cancel()
      queue.close()
      writer?.close()
      files.close()
    },
  }
}
