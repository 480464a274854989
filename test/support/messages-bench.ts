/** Messages actors of one system in this process, on a backend in memory and a fake clock. */
import type { Handler } from '../../src/actors/messages/handler.ts'
import { MessagesActor } from '../../src/actors/messages/messages.ts'
import { DAY_MS, DELIVERY_MS } from '../../src/runtime/timings.ts'
import { idGenerator } from '../../src/storage/ids.ts'
import type { Backend } from '../../src/storage/ports.ts'
import { entryOf, seeded, type TestContext, TestDirectory, testContext } from './actor-context.ts'
import { FakeClock } from './fake-clock.ts'
import { startRunner } from './handler-here.ts'
import { MemoryStore } from './memory-backend.ts'

/** An actor with its backend and context. */
export interface Member {
  actor: MessagesActor
  backend: Backend
  context: TestContext
}

/** Boots messages actors, lists them in the directory, and adds messages to lanes. */
export class MessagesBench {
  readonly clock = new FakeClock()
  readonly directory = new TestDirectory()
  readonly store: MemoryStore
  readonly #nextIds = idGenerator(this.clock, seeded(1))

  constructor(laneCount = 4) {
    this.store = new MemoryStore(this.clock, laneCount)
  }

  /** Boots `messages-<number>`. It takes lanes once the directory lists it. */
  async boot(
    number: number,
    {
      handler = null,
      directory = this.directory,
      retentionMs = DAY_MS,
      deadRetentionMs = null,
    }: {
      handler?: Handler | null
      directory?: TestDirectory
      retentionMs?: number
      deadRetentionMs?: number | null
    } = {},
  ): Promise<Member> {
    const backend = this.store.open()
    const context = testContext({ name: `messages-${number}`, clock: this.clock, directory })
    const { handlerTimeoutMs: timeoutMs } = context.config
    const runner = handler && (await startRunner(handler, { clock: this.clock, timeoutMs }))
    const actor = new MessagesActor(context, backend.queue, {
      ...{ runner, retentionMs, deadRetentionMs },
      policy: { attempts: 5, retryMinMs: 500, retryMaxMs: 60_000 },
    })
    await actor.start()
    return { actor, backend, context }
  }

  /** Sets the directory, and lets 600 ms pass: by then a claim that waits has ended. */
  async live(...numbers: number[]): Promise<void> {
    this.directory.set(...numbers.map((number) => entryOf(`messages-${number}`)))
    await this.clock.advance(600)
  }

  /** Adds messages to a lane's backlog. */
  async add(lane: number, ...texts: string[]): Promise<string[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    await this.store.open().log.append({ messages, lane, deadlineAt: this.clock.monotonic() + 1000 })
    this.store.lanes[lane]!.wake()
    await this.clock.advance(DELIVERY_MS)
    return ids
  }
}

/** Texts on one page of an actor's store, newest first. */
export async function textsOf({ actor }: Member, limit = 1000): Promise<string[]> {
  return (await actor.page({ limit })).messages.map(({ text }) => text)
}
