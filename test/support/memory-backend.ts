/** A backend in memory: many handles on one store, as many processes on one data directory. */

import { crc32 } from 'node:zlib'
import type { Clock } from '../../src/runtime/clock.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import { LANES_POLL_MS, REDRIVE_AGE_MS } from '../../src/runtime/timings.ts'
import { isMeant } from '../../src/storage/dead-filter.ts'
import { groupsOf } from '../../src/storage/dead-groups.ts'
import { timeOf } from '../../src/storage/ids.ts'
import {
  type Attempts,
  adopted,
  CLAIMED_FIRST,
  claimedOf,
  deadAfter,
  deliveredAt,
  killerLetter,
  type Letter,
  queuedAt,
  settledAs,
  startedOnce,
  UNSTARTED,
} from '../../src/storage/lane.ts'
import { HAND_MAX_BYTES, PAGE_MAX_BYTES } from '../../src/storage/limits.ts'
import { firstBytes } from '../../src/storage/paging.ts'
import type {
  Backend,
  Claimed,
  Dead,
  Delivered,
  Message,
  Queue,
  Range,
  SettledPlace,
} from '../../src/storage/ports.ts'
import { textBytesOf } from '../../src/storage/ports.ts'
import { previewOf } from '../../src/storage/preview.ts'

const HOUR_MS = 3_600_000

interface Started extends Attempts {
  id: string
  text: string
}

/** A lane, as it survives its holder. */
class Lane {
  holder: object | undefined
  readonly inHand = new Map<string, string>()
  readonly delivered = new Map<string, Delivered>()
  readonly started = new Map<string, Started>()
  readonly dead = new Map<string, Dead & { purged: boolean }>()
  /** Logged, and in the queue no more. */
  readonly lost = new Set<string>()
  /** Counts wakes, so that none is missed between a look and the sleep after it. */
  wakes = 0
  onWake: () => void = () => {}

  wake(): void {
    this.wakes++
    this.onWake()
  }

  knows(id: string): boolean {
    return [this.inHand, this.delivered, this.started, this.dead, this.lost].some((known) => known.has(id))
  }
}

/** What all handles share, and switches for what can go wrong. */
export class MemoryStore {
  readonly log = new Map<string, { id: string; text: string; lane: number }>()
  readonly keys = new Map<string, { hash: string; ids: string[] }>()
  readonly lanes: Lane[]
  isPaused = false
  /** Called before each call to the port takes effect; may wait, or throw what the call then throws. */
  before: (call: string, lane?: number) => Promise<void> | void = () => {}
  confirmLosses: Backend['confirmLosses'] = async () => {}
  readonly #clock: Clock
  readonly #closed = new WeakSet<object>()
  #nextLane = 0

  constructor(clock: Clock, laneCount = 4) {
    this.#clock = clock
    this.lanes = Array.from({ length: laneCount }, () => new Lane())
  }

  /** A handle, as one process has it. @param lane Where it puts what it accepts without a key; else in turn. */
  open(lane?: number): Backend {
    const handle = {}
    return {
      log: {
        // What is logged is in the queue by that alone.
        restore: async () => [],
        append: async (batch) => {
          await this.before('append', batch.lane)
          const { messages, key, deadlineAt, lane } = batch
          if (deadlineAt <= this.#clock.monotonic()) {
            throw new MailroomError(
              'MR_DEADLINE_EXPIRED',
              { what: 'append', deadlineMs: 0 },
              { outcome: 'none' },
            )
          }
          const ids = messages.map(({ id }) => id)
          const first = key && this.keys.get(key.value)
          if (first !== undefined && first.hash !== key!.hash)
            throw new MailroomError('MR_KEY_REUSED', { key: key!.value })
          if (first !== undefined) return first.ids.map((id) => ({ id, replayed: !ids.includes(id) }))
          if (key !== undefined) this.keys.set(key.value, { hash: key.hash, ids })
          for (const message of messages) this.log.set(message.id, { ...message, lane })
          return ids.map((id) => ({ id, replayed: false }))
        },
        page: async (range) => {
          await this.before('page')
          return boundedPageOf(this.log.values(), range)
        },
        get: async (id) => {
          await this.before('get')
          return this.log.get(id)
        },
        // A Map gives its entries in the order in which they were put.
        follow: async ({ after, rows }, limit) => {
          await this.before('follow')
          const read = rows?.['memory'] ?? 0
          const all = [...this.log.values()]
          const messages = all.slice(read, read + limit).filter(({ id }) => rows !== undefined || id > after)
          const next = Math.min(all.length, read + limit)
          return { messages, position: { after, rows: { memory: next } }, isEnd: next === all.length }
        },
      },
      queue: this.#queue(handle, lane),
      missing: () => [],
      damaged: () => [],
      reports: () => [],
      confirmLosses: (losses) => this.confirmLosses(losses),
      close: async () => {
        this.#closed.add(handle)
        for (const lane of this.lanes) if (lane.holder === handle) this.#release(lane)
      },
    }
  }

  /** What a lane had is lost, its list too, as when a cluster of the queue comes back empty. */
  forget(number: number): void {
    const lane = this.lanes[number]!
    for (const known of [lane.inHand, lane.delivered, lane.started, lane.dead]) known.clear()
    for (const message of this.log.values()) if (message.lane === number) lane.lost.add(message.id)
  }

  #release(lane: Lane): void {
    lane.holder = undefined
    lane.inHand.clear()
    lane.wake()
  }

  #queue(handle: object, only?: number): Queue {
    const clock = this.#clock
    const held = async (call: string, number: number): Promise<Lane> => {
      const holds = () => this.lanes[number]!.holder === handle
      const elsewhere = () => new MailroomError('MR_LANE_ELSEWHERE', { lane: number, name: 'this handle' })
      if (!holds()) throw elsewhere()
      await this.before(call, number)
      if (!holds()) throw elsewhere()
      return this.lanes[number]!
    }
    const claimNow = (lane: Lane, number: number, maxCount: number, maxRetryCount: number): Claimed[] => {
      const due = [...lane.started.values()]
        .filter(({ id, open, dueAt }) => !open && dueAt <= clock.monotonic() && !lane.inHand.has(id))
        .sort((a, b) => a.dueAt - b.dueAt)
        .map(({ id, text, ...known }) => ({ id, text, ...claimedOf(known) }))
      const fresh = [...this.log.values()]
        .filter((message) => message.lane === number && !lane.knows(message.id))
        .map(({ id, text }) => ({ id, text, ...CLAIMED_FIRST }))
      const texts = this.lanes.flatMap((each) => (each.holder === handle ? [...each.inHand.values()] : []))
      let bytes = textBytesOf(texts.map((text) => ({ text })))
      const claimed: Claimed[] = []
      for (const message of [...due.slice(0, maxRetryCount), ...fresh].slice(0, maxCount)) {
        const own = Buffer.byteLength(message.text)
        if (bytes > 0 && bytes + own > HAND_MAX_BYTES) break
        bytes += own
        lane.inHand.set(message.id, message.text)
        claimed.push(message)
      }
      return claimed
    }
    return {
      laneCount: this.lanes.length,
      accept: async ({ key, ...batch }, append) => {
        const count = this.lanes.length
        const inTurn = () => only ?? this.#nextLane++ % count
        const lane = key === undefined ? inTurn() : crc32(key.value) % count
        const receipts = await append({ ...batch, ...(key && { key }), lane })
        this.lanes[lane]!.wake()
        return receipts
      },
      wake: (number) => this.lanes[number]!.wake(),
      isHeld: (number) => this.lanes[number]!.holder === handle,
      hold: async (number) => {
        await this.before('hold', number)
        const lane = this.lanes[number]!
        if (lane.holder === handle) return 0
        if (lane.holder !== undefined || this.#closed.has(handle))
          throw new MailroomError('MR_LANE_ELSEWHERE', { lane: number, name: 'this handle' })
        lane.holder = handle
        const open = [...lane.started.values()].filter((started) => started.open)
        for (const { id, text, ...attempts } of open) {
          const known = adopted(attempts, clock.monotonic() + HOUR_MS)
          const letter = killerLetter(known)
          if (letter === undefined) lane.started.set(id, { id, text, ...known })
          else bury(lane, { id, text }, letter, clock.now())
        }
        return open.length
      },
      release: async (number) => {
        await this.before('release', number)
        if (this.lanes[number]!.holder === handle) this.#release(this.lanes[number]!)
      },
      claim: async (number, maxCount, waitMs, maxRetryCount = maxCount) => {
        const endAt = clock.monotonic() + waitMs
        for (let wasWoken = false; ; ) {
          const { wakes } = this.lanes[number]!
          const lane = await held('claim', number)
          const claimed = claimNow(lane, number, maxCount, maxRetryCount)
          const leftMs = endAt - clock.monotonic()
          if (claimed.length > 0 || leftMs <= 0 || wasWoken) return claimed
          const nextDueAt = Math.min(
            ...[...lane.started.values()]
              .filter(({ open, dueAt }) => !open && dueAt > clock.monotonic())
              .map(({ dueAt }) => dueAt),
          )
          if (lane.wakes !== wakes) continue
          const woken = new AbortController()
          lane.onWake = () => woken.abort()
          const dueInMs = Math.max(1, nextDueAt - clock.monotonic())
          await clock.sleep(Math.min(leftMs, dueInMs, LANES_POLL_MS), woken.signal)
          wasWoken = lane.wakes !== wakes
        }
      },
      start: async (number, ids) => {
        const lane = await held('start', number)
        for (const id of ids) {
          const text = lane.inHand.get(id)!
          lane.started.set(id, { id, text, ...startedOnce(lane.started.get(id)) })
        }
      },
      settle: async (number, settlements) => {
        const lane = await held('settle', number)
        const shown: Delivered[] = []
        for (const settlement of settlements) {
          const { id } = settlement
          const text = lane.inHand.get(id)
          if (text === undefined) continue
          lane.inHand.delete(id)
          const fate = settledAs(settlement, clock.monotonic(), lane.started.get(id))
          if (fate.is === 'waiting') {
            lane.started.set(id, { id, text, ...fate.attempts })
            continue
          }
          lane.started.delete(id)
          if (fate.is === 'dead') bury(lane, { id, text }, fate.letter, clock.now())
          else if (!lane.delivered.has(id)) {
            const delivered = { id, text, deliveredAt: clock.now(), attempts: fate.attempts }
            lane.delivered.set(id, delivered)
            shown.push(delivered)
          }
        }
        return shown.sort((a, b) => (a.id < b.id ? -1 : 1))
      },
      deliveredByFormerHolder: () => [],
      find: async (number, id) => {
        const lane = await held('find', number)
        const delivered = lane.delivered.get(id)
        if (delivered !== undefined) return deliveredAt(delivered)
        const dead = lane.dead.get(id)
        if (dead !== undefined) return deadAfter(dead)
        return queuedAt(clock.monotonic(), clock.now(), lane.started.get(id))
      },
      isPaused: async () => {
        await this.before('isPaused')
        return this.isPaused
      },
      setPaused: async (paused) => {
        await this.before('setPaused')
        this.isPaused = paused
      },
      delivered: async (number, range) =>
        boundedPageOf((await held('delivered', number)).delivered.values(), range),
      deliveredSince: async (number, from, limit) => {
        const list = [...(await held('deliveredSince', number)).delivered.values()]
        return firstSince(
          list.map(({ text, ...rest }) => ({ ...rest, at: rest.deliveredAt, preview: previewOf(text) })),
          from,
          limit,
        )
      },
      deadSince: async (number, from, limit) => {
        const letters = [...(await held('deadSince', number)).dead.values()].filter(({ purged }) => !purged)
        return firstSince(
          letters.map(({ text, purged: _, ...rest }) => ({
            ...{ ...rest, at: rest.deadAt, preview: previewOf(text) },
          })),
          from,
          limit,
        )
      },
      depth: async (number) => {
        const lane = await held('depth', number)
        const open = [...this.log.values()].filter(
          ({ id, lane: at }) =>
            at === number && !lane.delivered.has(id) && !lane.dead.has(id) && !lane.lost.has(id),
        )
        const oldest = open.map(({ id }) => id).sort()[0]
        return {
          waiting: open.length - lane.inHand.size,
          inHand: lane.inHand.size,
          retrying: [...lane.started.values()].filter(({ open, dueAt }) => !open && dueAt > 0).length,
          dead: [...lane.dead.values()].filter(({ purged }) => !purged).length,
          oldestAt: oldest === undefined ? null : timeOf(oldest),
        }
      },
      dead: async (number, { after = '0', limit }) => {
        const letters = [...(await held('dead', number)).dead.values()].filter(({ purged }) => !purged)
        return boundedPageOf(letters, { after, limit }).map(({ purged: _, ...letter }) => letter)
      },
      sift: async (number, range, filter) => {
        const letters = [...(await held('sift', number)).dead.values()].filter(({ purged }) => !purged)
        return pageOf(letters, range).map((letter) => ({ id: letter.id, isMeant: isMeant(filter, letter) }))
      },
      groupDead: async (number, range) => {
        const letters = [...(await held('groupDead', number)).dead.values()].filter(({ purged }) => !purged)
        const page = pageOf(letters, range)
        const last = page.length < range.limit ? null : page.at(-1)!.id
        return { groups: groupsOf(page), counted: page.length, last }
      },
      replay: async (number, ids) => {
        const lane = await held('replay', number)
        const letters = [...new Set(ids)]
          .flatMap((id) => lane.dead.get(id) ?? [])
          .filter(({ purged }) => !purged)
        for (const { id, text } of letters) {
          lane.dead.delete(id)
          lane.started.set(id, { id, text, ...UNSTARTED, replayedAt: clock.now() })
        }
        lane.wake()
        return letters.length
      },
      purge: async (number, ids) => {
        const { dead } = await held('purge', number)
        const letters = [...new Set(ids)].flatMap((id) => dead.get(id) ?? []).filter(({ purged }) => !purged)
        for (const letter of letters) letter.purged = true
        return letters.length
      },
      redrive: async (number, messages) => {
        const lane = await held('redrive', number)
        const youngestAt = clock.ago(REDRIVE_AGE_MS)
        const lost = messages.filter(({ id }) => timeOf(id) < youngestAt && lane.lost.delete(id))
        lane.wake()
        return lost.length
      },
      stored: async (number) => {
        await held('stored', number)
        return []
      },
    }
  }
}

function bury(lane: Lane, { id, text }: Message, letter: Letter, now: number) {
  lane.started.delete(id)
  lane.dead.set(id, { id, text, ...letter, deadAt: now, purged: false })
}

/** A page as the port promises it: it ends with the text that reaches `PAGE_MAX_BYTES`. */
function boundedPageOf<T extends Message>(items: Iterable<T>, range: Range): T[] {
  return firstBytes(pageOf(items, range), PAGE_MAX_BYTES)
}

/** The port's paging over items in any order. */
export function pageOf<T extends { id: string }>(items: Iterable<T>, { before, after, limit }: Range): T[] {
  const inside = [...items]
    .filter(({ id }) => (before === undefined || id < before) && (after === undefined || id > after))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  return (after === undefined ? inside.reverse() : inside).slice(0, limit)
}

/** The first items behind a place, by time and id. */
export function firstSince<T extends { id: string; at: number }>(
  items: readonly T[],
  from: SettledPlace,
  limit: number,
): Omit<T, 'at'>[] {
  return items
    .filter(({ at, id }) => at > from.at || (at === from.at && id > from.id))
    .sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1))
    .slice(0, limit)
    .map(({ at: _, ...rest }) => rest)
}
