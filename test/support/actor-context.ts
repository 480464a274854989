/** What an actor is given, for tests: a fake clock, and a directory that tests write. */
import type { Logging, Messages, Peers } from '../../src/actors/protocol.ts'
import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import {
  type ActorEntry,
  actorNumber,
  type Directory,
  type Role,
} from '../../src/runtime/cluster/directory.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import { Figures } from '../../src/runtime/figures.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { type NodeConfig, resolveConfig } from '../../src/settings/config.ts'
import { FakeClock } from './fake-clock.ts'

/** A directory that tests write. */
export class TestDirectory implements Directory {
  #actors: readonly ActorEntry[] = []
  readonly #listeners = new Set<() => void>()

  actors(): readonly ActorEntry[] {
    return this.#actors
  }

  warnings(): readonly string[] {
    return []
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  set(...actors: readonly ActorEntry[]): void {
    this.#actors = actors
    for (const listener of this.#listeners) listener()
  }

  /** How many listen. */
  get listenerCount(): number {
    return this.#listeners.size
  }
}

/** A context that records the failures of its actor. */
export interface TestContext extends ActorContext<NodeConfig> {
  clock: FakeClock
  directory: TestDirectory
  /** Errors passed to `fail`. */
  failures: unknown[]
}

/** What is asked of a primary, where there is none. */
export const noPrimary = {
  metrics: () => Promise.reject(new Error('there is no primary')),
  stats: () => Promise.reject(new Error('there is no primary')),
  history: () => Promise.reject(new Error('there is no primary')),
}

/** Makes a context. Contexts of one system share `clock` and `directory`. */
export function testContext({
  name = 'facade-1',
  clock = new FakeClock(),
  directory = new TestDirectory(),
  random = seeded(1),
  config = {},
}: {
  name?: string
  clock?: FakeClock
  directory?: TestDirectory
  random?: () => number
  config?: Partial<NodeConfig>
} = {}): TestContext {
  const failures: unknown[] = []
  const role = name.slice(0, name.indexOf('-')) as Role
  return {
    ...{ name, role, clock, directory, random, failures },
    figures: new Figures(role),
    ...noPrimary,
    node: 'here',
    config: { ...resolveConfig({ flags: {}, env: {} }), lanes: 4, inbox: {}, ...config },
    secret: 'secret',
    logger: createLogger('silent', {}),
    scale: async () => directory.actors(),
    restart: async () => directory.actors(),
    known: {},
    remember() {},
    changed() {},
    passOn: async () => true,
    // The real method ends the process.
    fail: (error) => failures.push(error) as never,
  }
}

/** A directory entry, ready, at an address of its own name. */
export function entryOf(name: string, more: Partial<ActorEntry> = {}): ActorEntry {
  return {
    ...{ name, node: 'here', pid: actorNumber(name), state: 'ready', restarts: 0, address: name },
    role: name.slice(0, name.indexOf('-')) as Role,
    ...{ mailbox: { depth: 0, capacity: 1000, refused: 0 }, handled: 0, missing: [] },
    ...more,
  }
}

/** `Peers` that call the actors in this process; an address that is not here refuses the connection. */
export class DirectPeers implements Peers {
  readonly actors = new Map<string, Partial<Logging> | Partial<Messages>>()

  logging(address: string): Logging {
    return this.#at(address) as Logging
  }

  messages(address: string): Messages {
    return this.#at(address) as Messages
  }

  #at(address: string): object {
    return (
      this.actors.get(address) ??
      new Proxy({}, { get: () => async () => Promise.reject(lost(address, 'none')) })
    )
  }
}

/** The error of a call whose connection was lost. */
export function lost(peer: string, outcome: 'none' | 'unknown'): MailroomError<'MR_PEER_LOST'> {
  return new MailroomError('MR_PEER_LOST', { peer, reason: 'gone' }, { outcome })
}

/** Random numbers that are the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
