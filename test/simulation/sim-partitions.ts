/** The maps of a simulated cluster: each partition has a primary replica, and a backup that follows a moment later. */
import { crc32 } from 'node:zlib'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

const PARTITIONS = 7
const MEMBERS = 3

interface Entry {
  value: string
  /** Virtual time; infinite for ever. */
  endsAt: number
}

type Copy = Map<string, Entry>

/** A part of all maps: what is kept twice, together. */
export interface Partition {
  primary: Copy
  backup: Copy
  /** Members that have them. */
  owners: [number, number]
  /** Copies arrive in order. */
  copiedAt: number
  /** Not served before. */
  servedFrom: number
}

/** All partitions of one cluster. Paths are `<map>|<key>`. */
export class SimPartitions {
  readonly #scheduler: Scheduler
  readonly #rng: Rng
  readonly #partitions: Partition[]

  constructor(scheduler: Scheduler, rng: Rng) {
    this.#scheduler = scheduler
    this.#rng = rng
    this.#partitions = Array.from({ length: PARTITIONS }, (_, index) => ({
      ...{ primary: new Map(), backup: new Map(), copiedAt: 0, servedFrom: 0 },
      owners: [index % MEMBERS, (index + 1) % MEMBERS],
    }))
  }

  of(path: string): Partition {
    return this.#partitions[crc32(path) % PARTITIONS]!
  }

  /** Of all primaries; what has ended is among them. */
  paths(): string[] {
    return this.#partitions.flatMap(({ primary }) => [...primary.keys()])
  }

  /** What the primary has. */
  get(path: string): string | undefined {
    return this.#living(path)?.value
  }

  put(path: string, value: string, ttlMs: number): void {
    this.of(path).primary.set(path, { value, endsAt: this.#endOf(ttlMs) })
  }

  /** An entry that has been there for long. */
  seed(path: string, value: string): void {
    for (const copy of [this.of(path).primary, this.of(path).backup]) {
      copy.set(path, { value, endsAt: Number.POSITIVE_INFINITY })
    }
  }

  /** @returns False when it is not there. */
  prolong(path: string, ttlMs: number): boolean {
    const entry = this.#living(path)
    if (entry === undefined) return false
    this.put(path, entry.value, ttlMs)
    return true
  }

  delete(path: string): void {
    this.of(path).primary.delete(path)
  }

  /** All entries of a map, for who looks on. */
  entries(map: string): Map<string, string> {
    const prefix = `${map}|`
    const own = this.paths().filter((path) => path.startsWith(prefix))
    return new Map(
      own.flatMap((path) => {
        const value = this.get(path)
        return value === undefined ? [] : [[path.slice(prefix.length), value]]
      }),
    )
  }

  /** What was written goes to the backup, in order. @param done Told when it is there, or that nobody knows. */
  copy(path: string, { lateMs }: { lateMs: number }, done: (isThere: boolean) => void): void {
    const { now } = this.#scheduler
    const partition = this.of(path)
    const { owners } = partition
    const entry = partition.primary.get(path)
    partition.copiedAt = Math.max(partition.copiedAt, now + this.#rng.between(0.05, 1)) + lateMs
    this.#scheduler.after(partition.copiedAt - now, () => {
      // Whoever was to answer is gone; what became of the write depends on which of the two it was.
      if (partition.owners !== owners) return done(false)
      if (entry === undefined) partition.backup.delete(path)
      else partition.backup.set(path, entry)
      done(true)
    })
  }

  /** Its backups take over, and are copied elsewhere; a moment later it is there again, empty. */
  loseMember(member: number): void {
    for (const partition of this.#partitions) {
      const [primary, backup] = partition.owners
      if (primary !== member && backup !== member) continue
      if (primary === member) partition.primary = new Map(partition.backup)
      else partition.backup = new Map(partition.primary)
      const heir = primary === member ? backup : primary
      const other = [0, 1, 2].find((each) => each !== member && each !== heir)!
      partition.owners = [heir, other]
      partition.servedFrom = this.#scheduler.now + this.#rng.between(100, 600)
    }
  }

  /** All members stop, and with them what they held. */
  clear(): void {
    for (const partition of this.#partitions) {
      Object.assign(partition, { primary: new Map(), backup: new Map(), servedFrom: 0 })
      partition.owners = [...partition.owners]
    }
  }

  /** A member answers nothing for so long. */
  freezeMember(member: number, forMs: number): void {
    for (const partition of this.#partitions) {
      if (!partition.owners.includes(member)) continue
      partition.servedFrom = Math.max(partition.servedFrom, this.#scheduler.now + forMs)
    }
  }

  #living(path: string): Entry | undefined {
    const entry = this.of(path).primary.get(path)
    return entry !== undefined && entry.endsAt > this.#scheduler.now ? entry : undefined
  }

  /** Times to live count in whole seconds, the beginning of which is not known. */
  #endOf(ttlMs: number): number {
    if (ttlMs === 0) return Number.POSITIVE_INFINITY
    return this.#scheduler.now + ttlMs - this.#rng.between(0, 1000)
  }
}
