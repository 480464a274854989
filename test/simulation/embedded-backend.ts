/**
 * The embedded backend on a simulated disk. Its lanes in hand (`HeldLane`), its log (`EmbeddedLog`) and its choice
 * of lanes run unchanged; SQLite's files, and the writer that is bound to them, are models.
 */

import { crc32 } from 'node:zlib'
import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import { actorNumber } from '../../src/runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../src/runtime/errors.ts'
import { HOME_SYNC_MS, LANES_POLL_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { Damage } from '../../src/storage/embedded/damage.ts'
import { HeldLane } from '../../src/storage/embedded/held-lane.ts'
import type { Home } from '../../src/storage/embedded/home.ts'
import { EmbeddedLog } from '../../src/storage/embedded/log.ts'
import type { LogFiles } from '../../src/storage/embedded/log-files.ts'
import type { LogWriter } from '../../src/storage/embedded/log-writer.ts'
import { faultOf } from '../../src/storage/embedded/sqlite.ts'
import { timeOf } from '../../src/storage/ids.ts'
import { LaneChoice } from '../../src/storage/lane-choice.ts'
import { HAND_MAX_BYTES } from '../../src/storage/limits.ts'
import type { Backend, Queue } from '../../src/storage/ports.ts'
import { Room } from '../../src/storage/room.ts'
import type { BackendHooks, BackendModel } from './backend-model.ts'
import { Disk, type DiskBugs } from './disk.ts'
import { type HomeBugs, HomeFile, SimHome } from './home-file.ts'
import { SimLogFile, SimLogWriter, type WriterBugs } from './log-file.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'

/** What planted bugs there are of this backend. */
export interface EmbeddedBugs {
  disk?: DiskBugs
  writer?: WriterBugs
  home?: HomeBugs
  /** A lane can be held twice. */
  locksNothing?: boolean
  /** Nobody is woken, and who waits for a message looks for one so seldom. */
  sleepsMs?: number
  /** A pause is forgotten by the next who asks. */
  forgetsPause?: boolean
  /** A logging actor reads its own file only. */
  readsOwnFileOnly?: boolean
}

/** One data directory, as it survives all processes. */
export class EmbeddedModel implements BackendModel {
  readonly disk: Disk
  readonly #bugs: EmbeddedBugs
  readonly #logs = new Map<string, SimLogFile>()
  readonly #homes: HomeFile[]
  #isPaused = false

  constructor(laneCount: number, rng: Rng, bugs: EmbeddedBugs) {
    this.disk = new Disk(rng, bugs.disk ?? {})
    this.#bugs = bugs
    this.#homes = Array.from({ length: laneCount }, () => new HomeFile(this.disk.journal('home')))
  }

  /** Opens it in one process. */
  open(world: ActorContext<NodeConfig>, process: SimProcess, hooks: BackendHooks): Backend {
    const writer = world.role === 'logging' ? this.#writerOf(world, process) : undefined
    const files = this.#filesFor(world.role === 'logging' ? world.name : undefined)
    const log = new EmbeddedLog({
      files: files as unknown as LogFiles,
      writer: writer as unknown as LogWriter,
      clock: world.clock,
      retentionMs: world.config.retentionMs,
    })
    const { queue, close } = this.#queue(world, process, files as unknown as LogFiles, hooks)
    return {
      log,
      queue,
      missing: () => (writer !== undefined && this.disk.full ? ['room on the disk'] : []),
      damaged: () => [],
      reports: () => [],
      confirmLosses: async () => {},
      close: async () => close(),
    }
  }

  /** The instant of the newest id of the log. */
  newest(): number | undefined {
    const ids = [...this.#logs.values()].flatMap((log) => log.messages().map(({ id }) => id))
    return ids.length === 0 ? undefined : timeOf(ids.sort().at(-1)!)
  }

  pending(): string[] {
    const pending: string[] = []
    for (const log of this.#logs.values()) {
      for (const { id, lane } of log.messages()) {
        const { message, dead } = this.#homes[lane]!
        if (!message.has(id) && !dead.has(id)) pending.push(id)
      }
    }
    for (const { start } of this.#homes) pending.push(...start.keys())
    return [...new Set(pending)]
  }

  quiet(): boolean {
    return this.disk.writing === 0
  }

  heal(): void {
    this.disk.full = false
    this.disk.failingSyncs = 0
  }

  #writerOf(world: ActorContext<NodeConfig>, process: SimProcess): SimLogWriter {
    const path = `log-${actorNumber(world.name)}`
    if (this.disk.lock(path, process) === undefined)
      throw new MailroomError('MR_DATA_LOCKED', { path, holder: 'another process' })
    let file = this.#logs.get(path)
    if (file === undefined) {
      file = new SimLogFile(`file of ${path}`, this.disk.journal('log'))
      this.#logs.set(path, file)
    }
    const onBroken = (error: unknown) => world.fail(error)
    return new SimLogWriter(file, this.disk, process, { onBroken, bugs: this.#bugs.writer ?? {} })
  }

  /** What is used of `LogFiles`. */
  #filesFor(reader: string | undefined) {
    const own = reader !== undefined && this.#bugs.readsOwnFileOnly ? `log-${actorNumber(reader)}` : undefined
    const names = () => [...this.#logs.keys()].filter((name) => own === undefined || name === own).sort()
    return {
      version: () =>
        names()
          .map((name) => `${name} ${this.#logs.get(name)!.version()}`)
          .join(),
      names,
      read: <T>(name: string, read: (file: SimLogFile) => T): T => read(this.#logs.get(name)!),
      intact: <T>(rows: readonly T[]): T[] => [...rows],
      textsAt: ({ file, seq }: { file: string; seq: number }, id: string) => {
        const own = [...this.#logs.values()].find((log) => log.file === file)?.textsAt(seq) ?? new Map()
        if (own.has(id)) return own
        return [...this.#logs.values()].map((log) => log.textsOf(id)).find((texts) => texts.has(id)) ?? own
      },
    } satisfies Partial<Record<keyof LogFiles | keyof Damage, unknown>>
  }

  #queue(
    world: ActorContext<NodeConfig>,
    process: SimProcess,
    files: LogFiles,
    { depths, wakeRemote }: BackendHooks,
  ) {
    const { clock } = world
    const laneCount = this.#homes.length
    const held = new Map<number, HeldLane>()
    const rooms = { room: new Room(HAND_MAX_BYTES), retryRoom: new Room(HAND_MAX_BYTES / 2) }
    const choice = new LaneChoice(clock, laneCount, depths)
    const elsewhere = (lane: number) => new MailroomError('MR_LANE_ELSEWHERE', { lane, name: world.name })
    const inLane = async <T>(lane: number, work: (lane: HeldLane) => T | Promise<T>): Promise<T> => {
      const holding = held.get(lane)
      if (holding === undefined) throw elsewhere(lane)
      try {
        return await work(holding)
      } catch (error) {
        if (!isMailroomError(error)) holding.break(error)
        throw error
      }
    }
    const queue: Queue & { isHeld(lane: number): boolean } = {
      laneCount,
      accept: async (batch, append) => {
        const { key, messages } = batch
        const lane = key === undefined ? choice.choose(messages.length) : crc32(key.value) % laneCount
        const receipts = await append({ ...batch, lane })
        held.get(lane)?.wake()
        wakeRemote?.(lane)
        return receipts
      },
      wake: (lane) => (this.#bugs.sleepsMs === undefined ? held.get(lane)?.wake() : undefined),
      isHeld: (lane) => held.has(lane),
      hold: async (lane) => {
        if (held.has(lane) || !process.leaves()) return 0
        const release = this.#bugs.locksNothing ? () => {} : this.disk.lock(`home-${lane}`, process)
        if (release === undefined) throw elsewhere(lane)
        try {
          const home = new SimHome(this.#homes[lane]!, this.disk, process, this.#bugs.home ?? {})
          const lock = { release, keep() {} }
          held.set(lane, new HeldLane({ lane, home: home as unknown as Home, lock, files, clock, ...rooms }))
          return home.leftOpenCount
        } catch (error) {
          release()
          throw faultOf(error) === 'unwritable'
            ? new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'the disk is full' })
            : error
        }
      },
      release: async (lane) => {
        held.get(lane)?.release()
        held.delete(lane)
      },
      claim: (lane, maxCount, waitMs, maxRetryCount = maxCount) =>
        inLane(lane, (holding) => holding.claim(maxCount, this.#bugs.sleepsMs ?? waitMs, maxRetryCount)),
      start: (lane, ids) => inLane(lane, (holding) => holding.start(ids)),
      settle: (lane, settlements) => inLane(lane, (holding) => holding.settle(settlements)),
      deliveredByFormerHolder: () => [],
      find: (lane, id) => inLane(lane, (holding) => holding.find(id)),
      isPaused: async () => this.#isPaused && !this.#bugs.forgetsPause,
      setPaused: async (paused) => {
        this.#isPaused = paused
      },
      delivered: (lane, range) => inLane(lane, (holding) => holding.delivered(range)),
      deliveredSince: (lane, from, limit) => inLane(lane, (holding) => holding.deliveredSince(from, limit)),
      deadSince: (lane, from, limit) => inLane(lane, ({ home }) => home.deadSince(from, limit)),
      depth: (lane) => inLane(lane, (holding) => holding.depth()),
      dead: (lane, range) => inLane(lane, ({ home }) => home.dead(range)),
      sift: (lane, range, filter) => inLane(lane, (holding) => holding.sift(range, filter)),
      groupDead: (lane, range) => inLane(lane, (holding) => holding.groupDead(range)),
      replay: (lane, ids) => inLane(lane, (holding) => holding.replay(ids)),
      purge: (lane, ids) => inLane(lane, (holding) => holding.purge(ids)),
      redrive: (lane) => inLane(lane, () => 0),
      stored: (lane) => inLane(lane, () => []),
    }
    const cancelPolls = clock.every(this.#bugs.sleepsMs ?? LANES_POLL_MS, () => {
      for (const holding of held.values()) holding.poll()
    })
    const cancelSyncs = clock.every(HOME_SYNC_MS, () => {
      for (const lane of held.keys()) void inLane(lane, (holding) => holding.sync()).catch(() => {})
    })
    const close = () => {
      cancelPolls()
      cancelSyncs()
      for (const holding of held.values()) holding.release()
      held.clear()
    }
    return { queue, close }
  }
}
