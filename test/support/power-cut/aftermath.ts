/** What a directory holds after a power cut: opened as the next start opens it, and read to its end. */
import { type Clock, systemClock } from '../../../src/runtime/clock.ts'
import { isMailroomError } from '../../../src/runtime/errors.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { openDataDirectory } from '../../../src/storage/embedded/data-directory.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import type { Message, Queue, Range } from '../../../src/storage/ports.ts'
import type { FinalRead } from '../checker.ts'

/** Longer than any pause before a retry. */
const LATER_MS = 3_600_000
const PAGE = 1000

/** What was found. */
export interface Aftermath extends FinalRead {
  /** Ids whose next attempt is still to come. */
  waiting: Set<string>
  damaged: string[]
  /** True when a post with this key and another body is refused. */
  knows(key: string): Promise<boolean>
  close(): Promise<void>
}

/** @param options.now When the power failed (ms since 1970): retention counts from there. */
export async function aftermathOf(
  data: string,
  {
    laneCount,
    writers,
    now,
    retentionMs,
  }: { laneCount: number; writers: number; now: number; retentionMs: number },
): Promise<Aftermath> {
  const logger = createLogger('silent', {})
  let laterMs = 0
  const clock: Clock = {
    ...systemClock,
    now: () => now,
    ago: (ms) => now - ms,
    monotonic: () => systemClock.monotonic() + laterMs,
    every: () => () => {},
  }
  const directory = await openDataDirectory(data, { lanes: null, clock, logger })
  const options = { data, laneCount, clock, random: Math.random, logger, retentionMs }
  const logs = Array.from({ length: writers }, (_, index) => openEmbedded({ ...options, writer: index + 1 }))
  const { log, queue, damaged, close } = openEmbedded(options)
  const stores = new Map<string, Message[]>()
  const dead: string[] = []
  const waiting = new Set<string>()
  const nextId = idGenerator(clock, Math.random)
  const logged = await all((range) => log.page(range))
  for (let lane = 0; lane < laneCount; lane++) {
    await queue.hold(lane)
    stores.set(`lane ${lane}`, await all((range) => queue.delivered(lane, range)))
    dead.push(...(await all((range) => queue.dead(lane, range))).map(({ id }) => id))
    laterMs = LATER_MS
    const claimed = await claimAll(queue, lane)
    stores.set(`waiting in lane ${lane}`, claimed)
    for (const { id } of claimed) waiting.add(id)
    laterMs = 0
  }
  return {
    ...{ logged, stores, dead, waiting, damaged: damaged() },
    async knows(value) {
      const [id] = nextId(1)
      const batch = { messages: [{ id: id!, text: 'another' }], key: { value, hash: 'another' }, lane: 0 }
      try {
        await logs[0]!.log.append({ ...batch, deadlineAt: clock.monotonic() + LATER_MS })
        return false
      } catch (error) {
        if (isMailroomError(error, 'MR_KEY_REUSED')) return true
        throw error
      }
    },
    async close() {
      await close()
      for (const one of logs) await one.close()
      directory.close()
    },
  }
}

async function claimAll(queue: Queue, lane: number): Promise<Message[]> {
  const claimed: Message[] = []
  for (;;) {
    const some = await queue.claim(lane, PAGE, 0)
    if (some.length === 0) return claimed.sort((a, b) => (a.id < b.id ? -1 : 1))
    claimed.push(...some.map(({ id, text }) => ({ id, text })))
  }
}

async function all<T extends { id: string }>(
  read: (range: Range & { after: string }) => Promise<T[]>,
): Promise<T[]> {
  const items: T[] = []
  for (;;) {
    const page = await read({ after: items.at(-1)?.id ?? MIN_ID, limit: PAGE })
    if (page.length === 0) return items
    items.push(...page)
  }
}
