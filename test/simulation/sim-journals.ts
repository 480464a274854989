/** The journals on the disks of simulated nodes: what was written outlives every process, and all processes of a node share it. */
import type { Epochs, KnownJournal } from '../../src/runtime/losses.ts'
import { byId } from '../../src/storage/ids.ts'
import type { Journal } from '../../src/storage/journal.ts'
import type { LaneBatch, Logged } from '../../src/storage/ports.ts'
import type { SimProcess } from './process.ts'

/** So long a write takes at most, in ms. */
const WRITE_MS = 3
/** So long a write that was acknowledged early takes. */
const EARLY_MS = 500

/** What stands in a directory. */
interface Directory {
  beganAt: number | null
  beganIn: Epochs
  messages: Map<string, Logged>
  others: Map<string, KnownJournal>
  holder: SimProcess | undefined
}

/** What planted bugs there are of journals. */
export interface JournalBugs {
  /** A write is acknowledged before it is there. */
  acknowledgesEarly?: boolean
  /** Of journals of actors of this role, a process reads only what it has written itself. */
  readsOwnOnly?: 'logging' | 'messages'
}

/** All journals of a world. */
export class SimJournals {
  readonly #bugs: JournalBugs
  readonly #directories = new Map<string, Directory>()

  constructor(bugs: JournalBugs) {
    this.#bugs = bugs
  }

  /** The directory of a node for actors of a role. */
  open(node: string, role: string, process: SimProcess, epochs: () => Epochs): Journal {
    const id = `${node}/${role}`
    const { acknowledgesEarly = false, readsOwnOnly } = this.#bugs
    const directory = this.#directories.get(id) ?? {
      ...{ beganAt: null, beganIn: {}, messages: new Map(), others: new Map(), holder: undefined },
    }
    this.#directories.set(id, directory)
    const { clock, rng } = process
    const own = new Set<string>()
    const write = async ({ lane, messages }: LaneBatch) => {
      await clock.sleep(rng.between(0, acknowledgesEarly ? EARLY_MS : WRITE_MS))
      if (!process.leaves()) return
      if (directory.beganAt === null) {
        directory.beganAt = clock.now()
        directory.beganIn = epochs()
      }
      for (const { id: messageId, text } of messages) {
        directory.messages.set(messageId, { id: messageId, text, lane })
        own.add(messageId)
      }
    }
    return {
      id,
      get beganAt() {
        epochs() // As the real one, it learns early.
        return directory.beganAt
      },
      get beganIn() {
        return directory.beganIn
      },
      async append(batch) {
        const written = write(batch)
        if (!acknowledgesEarly) await written
        await clock.sleep(rng.between(0, WRITE_MS))
      },
      async page({ after, limit }) {
        await clock.sleep(rng.between(0, WRITE_MS))
        return [...directory.messages.values()]
          .filter((message) => message.id > after && (readsOwnOnly !== role || own.has(message.id)))
          .sort(byId)
          .slice(0, limit)
      },
      count: () => directory.messages.size,
      async alone(work) {
        if (directory.holder?.alive) return false
        directory.holder = process
        await work().finally(() => {
          directory.holder = undefined
        })
        return true
      },
      others: () => [...directory.others.values()],
      seen(journals) {
        for (const journal of journals) directory.others.set(journal.id, journal)
      },
      missing: () => [],
      damaged: () => [],
      close() {},
    }
  }
}
