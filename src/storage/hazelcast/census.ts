/** About how many messages a cluster holds. A cluster counts entries, and an entry is a batch. */
import type { ClusterMap } from './cluster.ts'

/** How much of the mean the newest entry makes up, once there are many. */
const WEIGHT = 0.02

/** Counts the messages of some maps. */
export class Census {
  readonly #maps: readonly ClusterMap[]
  #perEntry = 1
  #noted = 0

  constructor(maps: readonly ClusterMap[]) {
    this.#maps = maps
  }

  /** Messages in an entry, on average. */
  get perEntry(): number {
    return this.#perEntry
  }

  /** Begins with an average that was measured before, unless this process has measured one. */
  begin(perEntry: number): void {
    if (this.#noted === 0) this.#perEntry = perEntry
  }

  /** This process has written an entry of so many messages. */
  note(messages: number): void {
    this.#perEntry += (messages - this.#perEntry) * Math.max(WEIGHT, 1 / ++this.#noted)
  }

  /** Asks the cluster. @throws {MailroomError} As `ClusterMap`. */
  async count(): Promise<number> {
    const sizes = await Promise.all(this.#maps.map((map) => map.size()))
    return Math.round(sizes.reduce((sum, size) => sum + size, 0) * this.#perEntry)
  }
}
