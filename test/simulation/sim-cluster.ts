/**
 * A simulated Hazelcast cluster behind the seam of `backends/hazelcast/cluster.ts`. Each partition is on a primary
 * and a backup. A call is a request, its effect on the primary, its copy on the backup and a reply, each at its
 * own moment; requests and replies may be late or lost, a copy may stay out. When a primary dies, its backup is
 * all there is. A queue's poll removes before its reply arrives.
 */
import { crc32 } from 'node:zlib'
import type { Cluster, ClusterMap, ClusterQueue } from '../../src/runtime/backends/hazelcast/cluster.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

const PARTITIONS = 7
const MEMBERS = 3
const CALL_MS = 2500
const RANGE_MS = 5000
/** A lost connection to the cluster stands again so long after it can. */
const RECONNECT_MS = 400

interface Entry {
  value: string
  /** Virtual time; infinite for ever. */
  endsAt: number
}

type Copy = Map<string, Entry>

/** A part of all maps and queues: what is kept twice, together. */
interface Partition {
  primary: Copy
  backup: Copy
  /** Members that have them. */
  owners: [number, number]
  /** Copies arrive in order. */
  copiedAt: number
  /** Not served before. */
  servedFrom: number
}

/** How bad the way to the cluster is now. */
export interface ClusterWeather {
  lossOfRequest: number
  lossOfReply: number
  /** A write stays on its primary, and its caller is told that nobody knows. */
  lossOfCopy: number
  delayMs: number
  /** A request takes so long more, with the probability of a loss: it comes after its caller gave up. */
  straggleMs: number
}

const CALM: ClusterWeather = { lossOfRequest: 0, lossOfReply: 0, lossOfCopy: 0, delayMs: 2, straggleMs: 0 }

/** One call to the partition of a path. */
interface Call<T> {
  /** For the record. */
  what: string
  path: string
  /** Happens on the primary; `wrote`: the entry it changed. */
  effect: (partition: Partition) => { answer: T; wrote?: string }
  answer: (value: T) => void
  fail: () => void
}

interface Parked {
  process: SimProcess
  give: (item: string | undefined) => void
}

/** How a planted bug makes a cluster go wrong. */
export interface ClusterBugs {
  /** A write is acknowledged before its backup has it. */
  withoutSyncBackup?: boolean
}

/** One cluster. */
export class SimCluster {
  readonly name: string
  weather: ClusterWeather = CALM
  /** False: nobody gets through, and everybody notices. */
  reachable = true
  lostCount = 0
  /** Requests that come late, and have not come yet. */
  straggling = 0
  /** Calls under way. */
  inFlight = 0
  /** Told when an item of a queue was given to a process that is dead. */
  onSwallowed: () => void = () => {}
  readonly #scheduler: Scheduler
  readonly #rng: Rng
  readonly #bugs: ClusterBugs
  readonly #partitions: Partition[]
  /** Items: oldest first. */
  readonly #queues = new Map<string, { items: string[]; parked: Parked[] }>()
  readonly #connections = new Set<SimConnection>()

  constructor(name: string, scheduler: Scheduler, rng: Rng, bugs: ClusterBugs) {
    this.name = name
    this.#scheduler = scheduler
    this.#rng = rng
    this.#bugs = bugs
    this.#partitions = Array.from({ length: PARTITIONS }, (_, index) => ({
      ...{ primary: new Map(), backup: new Map(), copiedAt: 0, servedFrom: 0 },
      owners: [index % MEMBERS, (index + 1) % MEMBERS],
    }))
  }

  connect(process: SimProcess): Cluster {
    const connection = new SimConnection(this, process)
    this.#connections.add(connection)
    process.onDeath(() => this.#connections.delete(connection))
    return connection
  }

  /** Calls are fine again. */
  clear(): void {
    this.weather = CALM
  }

  /** Ends all faults. */
  calm(): void {
    this.clear()
    if (!this.reachable) this.comeBack()
  }

  /** Every connection breaks. */
  goAway(): void {
    this.#scheduler.note(`${this.name} is away`)
    this.reachable = false
    for (const connection of this.#connections) connection.break()
  }

  comeBack(): void {
    if (this.reachable) return
    this.#scheduler.note(`${this.name} is back`)
    this.reachable = true
    for (const connection of this.#connections) {
      this.#scheduler.after(this.#rng.between(10, RECONNECT_MS), () => connection.mend())
    }
  }

  /** A member dies: its backups take over, and are copied elsewhere; a moment later it is there again, empty. */
  loseMember(member: number): void {
    this.#scheduler.note(`${this.name}: member ${member} dies`)
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
    // What a queue held is copied a moment later than what maps hold: some of it is gone.
    for (const queue of this.#queues.values()) queue.items = queue.items.filter(() => this.#rng.chance(0.7))
    for (const connection of this.#connections) connection.drop(0.4)
  }

  /** A member answers nothing for so long. */
  freezeMember(member: number, forMs: number): void {
    this.#scheduler.note(`${this.name}: member ${member} freezes for ${forMs.toFixed(0)} ms`)
    for (const partition of this.#partitions) {
      if (!partition.owners.includes(member)) continue
      partition.servedFrom = Math.max(partition.servedFrom, this.#scheduler.now + forMs)
    }
  }

  /** All entries of a map, for who looks on. */
  entries(map: string): Map<string, string> {
    const found = new Map<string, string>()
    for (const { primary } of this.#partitions) {
      for (const [path, { value, endsAt }] of primary) {
        if (path.startsWith(`${map}|`) && endsAt > this.#scheduler.now)
          found.set(path.slice(map.length + 1), value)
      }
    }
    return found
  }

  /** Sends a call. Its answer comes, or an error that says that nobody knows, or nothing. */
  run<T>(call: Call<T>): void {
    const { lossOfRequest, delayMs, straggleMs } = this.weather
    if (this.#rng.chance(lossOfRequest)) {
      this.#lose(call, 'request')
      return
    }
    const straggles = straggleMs > 0 && this.#rng.chance(0.3)
    if (straggles) this.straggling++
    this.#scheduler.after(this.#rng.between(0.05, delayMs) + (straggles ? straggleMs : 0), () => {
      if (straggles) this.straggling--
      this.#serve(call, this.#partitionOf(call.path))
    })
  }

  /** A call that reads many keys: one moment for all, as reads have no order to keep. */
  read<T>(what: string, look: (get: (path: string) => string | undefined, paths: () => string[]) => T) {
    const get = (path: string) => this.#living(this.#partitionOf(path).primary, path)?.value
    const paths = () => this.#partitions.flatMap(({ primary }) => [...primary.keys()])
    return (answer: (value: T) => void, fail: () => void) =>
      this.run({ what, path: what, effect: () => ({ answer: look(get, paths) }), answer, fail })
  }

  living(partition: Partition, path: string): string | undefined {
    return this.#living(partition.primary, path)?.value
  }

  put(partition: Partition, path: string, value: string, ttlMs: number): void {
    partition.primary.set(path, { value, endsAt: this.#endOf(ttlMs) })
  }

  /** @returns False when it is not there. */
  prolong(partition: Partition, path: string, ttlMs: number): boolean {
    const entry = this.#living(partition.primary, path)
    if (entry === undefined) return false
    partition.primary.set(path, { value: entry.value, endsAt: this.#endOf(ttlMs) })
    return true
  }

  offer(name: string, item: string): boolean {
    const queue = this.#queueOf(name)
    const taker = queue.parked.shift()
    if (taker === undefined) queue.items.push(item)
    else taker.give(item)
    return true
  }

  take(name: string, maxCount: number): string[] {
    return this.#queueOf(name).items.splice(0, maxCount)
  }

  /** Waits at the cluster; what it is given is gone, whether the process still is there or not. */
  park(name: string, process: SimProcess, waitMs: number, give: (item: string | undefined) => void): void {
    const queue = this.#queueOf(name)
    const call = { what: `poll ${name}`, path: name, answer: give, fail: () => {} }
    const reply = (item: string | undefined) =>
      this.#reply({ ...call, effect: () => ({ answer: item }) }, item)
    const parked: Parked = {
      process,
      give: (item) => {
        if (!process.alive) this.onSwallowed()
        reply(item)
      },
    }
    queue.parked.push(parked)
    const leave = (then: () => void) => {
      const index = queue.parked.indexOf(parked)
      if (index < 0) return
      queue.parked.splice(index, 1)
      then()
    }
    this.#scheduler.after(waitMs, () => leave(() => reply(undefined)))
    // A dead taker is noticed only when its connection is.
    const forget = () => void this.#scheduler.after(this.#rng.between(0, 50), () => leave(() => {}))
    if (process.alive) process.onDeath(forget)
    else forget()
  }

  #queueOf(name: string) {
    let queue = this.#queues.get(name)
    if (queue === undefined) {
      queue = { items: [], parked: [] }
      this.#queues.set(name, queue)
    }
    return queue
  }

  #living(copy: Copy, path: string): Entry | undefined {
    const entry = copy.get(path)
    return entry !== undefined && entry.endsAt > this.#scheduler.now ? entry : undefined
  }

  /** Times to live count in whole seconds, the beginning of which is not known. */
  #endOf(ttlMs: number): number {
    if (ttlMs === 0) return Number.POSITIVE_INFINITY
    return this.#scheduler.now + ttlMs - this.#rng.between(0, 1000)
  }

  #partitionOf(path: string): Partition {
    return this.#partitions[crc32(path) % PARTITIONS]!
  }

  /** The request has come to the primary. */
  #serve<T>(call: Call<T>, partition: Partition): void {
    const { now } = this.#scheduler
    if (partition.servedFrom > now) {
      this.straggling++
      this.#scheduler.after(partition.servedFrom - now + 0.01, () => {
        this.straggling--
        this.#serve(call, partition)
      })
      return
    }
    if (!this.reachable) {
      this.#lose(call, 'request')
      return
    }
    const { answer, wrote } = call.effect(partition)
    this.#scheduler.note(`${this.name}: ${call.what}`)
    if (wrote === undefined) this.#reply(call, answer)
    else if (this.#rng.chance(this.weather.lossOfCopy)) this.#lose(call, 'copy')
    else this.#copy(call, partition, wrote, answer)
  }

  /** What was written goes to the backup; then the caller is answered. */
  #copy<T>(call: Call<T>, partition: Partition, path: string, answer: T): void {
    const { now } = this.#scheduler
    const { owners } = partition
    const entry = partition.primary.get(path)
    partition.copiedAt = Math.max(partition.copiedAt, now + this.#rng.between(0.05, 1))
    if (this.#bugs.withoutSyncBackup) {
      this.#reply(call, answer)
      partition.copiedAt += 200
    }
    this.#scheduler.after(partition.copiedAt - now, () => {
      // Whoever was to answer is gone; what became of the write depends on which of the two it was.
      if (partition.owners !== owners) {
        call.fail()
        return
      }
      if (entry === undefined) partition.backup.delete(path)
      else partition.backup.set(path, entry)
      if (!this.#bugs.withoutSyncBackup) this.#reply(call, answer)
    })
  }

  #reply<T>(call: Call<T>, answer: T): void {
    if (this.#rng.chance(this.weather.lossOfReply)) this.#lose(call, 'reply')
    else this.#scheduler.after(this.#rng.between(0.05, this.weather.delayMs), () => call.answer(answer))
  }

  /** Half of what is lost is noticed at once; the rest runs into its deadline. */
  #lose({ what, fail }: { what: string; fail: () => void }, part: string): void {
    this.lostCount++
    this.#scheduler.note(`${this.name}: ${what}: ${part} lost`)
    if (this.#rng.chance(0.5)) this.#scheduler.after(1, fail)
  }
}

/** One process's connection to a cluster. */
class SimConnection implements Cluster {
  readonly #cluster: SimCluster
  readonly #process: SimProcess
  readonly #listeners: (() => void)[] = []
  /** Fails a call that is under way. */
  readonly #calls = new Set<() => void>()
  #up: boolean
  #closed = false

  constructor(cluster: SimCluster, process: SimProcess) {
    this.#cluster = cluster
    this.#process = process
    this.#up = cluster.reachable
  }

  break(): void {
    this.#up = false
    this.drop(1)
  }

  /** Calls under way lose their connection, each with this probability. */
  drop(probability: number): void {
    for (const fail of [...this.#calls]) if (this.#process.rng.chance(probability)) fail()
  }

  mend(): void {
    if (!this.#cluster.reachable || this.#up) return
    this.#process.reach(() => {
      this.#up = true
      for (const listener of this.#listeners) listener()
    })
  }

  missing(): string | undefined {
    return this.#up ? undefined : `the cluster ${this.#cluster.name}: not connected`
  }

  onConnect(listener: () => void): void {
    this.#listeners.push(listener)
    if (this.#up) listener()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#up = false
  }

  map(name: string): ClusterMap {
    const cluster = this.#cluster
    const pathOf = (key: string) => `${name}|${key}`
    const write = <T>(
      what: string,
      key: string,
      effect: (partition: Partition, path: string) => { answer: T; wrote: boolean },
    ) => {
      const path = pathOf(key)
      return this.#call<T>((answer, fail) =>
        cluster.run({
          what: `${what} ${path}`,
          path,
          effect: (partition) => {
            const { answer: value, wrote } = effect(partition, path)
            return { answer: value, ...(wrote && { wrote: path }) }
          },
          answer,
          fail,
        }),
      )
    }
    const setTtl = (key: string, ttlMs: number) =>
      write('setTtl', key, (partition, path) => {
        const done = cluster.prolong(partition, path, ttlMs)
        return { answer: done, wrote: done }
      })
    return {
      get: (key) => this.#call(cluster.read(`get ${pathOf(key)}`, (get) => get(pathOf(key)))),
      getAll: async (keys) => {
        if (keys.length === 0) return new Map()
        return this.#call(
          cluster.read(`getAll ${name} ${keys.length}`, (get) => {
            const found = new Map<string, string>()
            for (const key of keys) {
              const value = get(pathOf(key))
              if (value !== undefined) found.set(key, value)
            }
            return found
          }),
        )
      },
      keys: (from, to) =>
        this.#call(
          cluster.read(`keys ${name} ${from}..${to}`, (get, paths) =>
            paths()
              .filter((path) => path >= pathOf(from) && path <= pathOf(to) && get(path) !== undefined)
              .map((path) => path.slice(name.length + 1)),
          ),
          RANGE_MS,
        ),
      putIfAbsent: (key, value, ttlMs) =>
        write('putIfAbsent', key, (partition, path) => {
          const found = cluster.living(partition, path)
          if (found === undefined) cluster.put(partition, path, value, ttlMs)
          return { answer: found, wrote: found === undefined }
        }),
      set: (key, value, ttlMs) =>
        write('set', key, (partition, path) => {
          cluster.put(partition, path, value, ttlMs)
          return { answer: undefined, wrote: true }
        }),
      replaceIfSame: async (key, value, next, ttlMs) => {
        const done = await write('replace', key, (partition, path) => {
          const same = cluster.living(partition, path) === value
          if (same) cluster.put(partition, path, next, 0)
          return { answer: same, wrote: same }
        })
        return done && (ttlMs === 0 || setTtl(key, ttlMs))
      },
      setTtl,
      delete: (key) =>
        write('delete', key, (partition, path) => {
          partition.primary.delete(path)
          return { answer: undefined, wrote: true }
        }),
      removeIfSame: (key, value) =>
        write('remove', key, (partition, path) => {
          const same = cluster.living(partition, path) === value
          if (same) partition.primary.delete(path)
          return { answer: same, wrote: same }
        }),
      size: () =>
        this.#call(
          cluster.read(
            `size ${name}`,
            (_, paths) => paths().filter((path) => path.startsWith(`${name}|`)).length,
          ),
        ),
    }
  }

  queue(name: string): ClusterQueue {
    const cluster = this.#cluster
    const run = <T>(what: string, effect: () => T) =>
      this.#call<T>((answer, fail) =>
        cluster.run({
          what: `${what} ${name}`,
          path: name,
          effect: () => ({ answer: effect() }),
          answer,
          fail,
        }),
      )
    return {
      offer: (item) => run('offer', () => cluster.offer(name, item)),
      drain: (maxCount) => run('drain', () => cluster.take(name, maxCount)),
      poll: (waitMs) =>
        this.#call<string | undefined>((answer, fail) => {
          let reply: (item: string | undefined) => void = () => {}
          cluster.run({
            what: `poll ${name}`,
            path: name,
            effect: () => {
              const [item] = cluster.take(name, 1)
              if (item === undefined) cluster.park(name, this.#process, waitMs, (given) => reply(given))
              return { answer: item }
            },
            answer: (item) => {
              if (item !== undefined) answer(item)
            },
            fail,
          })
          reply = answer
        }, waitMs + CALL_MS),
    }
  }

  /** Settles within its deadline, unless the process dies. */
  #call<T>(send: (answer: (value: T) => void, fail: () => void) => void, deadlineMs = CALL_MS): Promise<T> {
    const process = this.#process
    if (!process.leaves()) return new Promise(() => {})
    if (!this.#up || this.#closed) return Promise.reject(this.#unavailable('not connected', 'none'))
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let settled = false
    process.inFlight++
    this.#cluster.inFlight++
    const settle = (how: () => void) => {
      process.reach(() => {
        if (settled) return
        settled = true
        process.inFlight--
        this.#cluster.inFlight--
        this.#calls.delete(fail)
        cancel()
        how()
      })
    }
    const fail = () => settle(() => reject(this.#unavailable('connection lost', 'unknown')))
    this.#calls.add(fail)
    const cancel = process.clock.after(deadlineMs, () =>
      settle(() => reject(this.#unavailable(`no answer in ${deadlineMs} ms`, 'unknown'))),
    )
    send((value) => settle(() => resolve(value)), fail)
    return promise
  }

  #unavailable(reason: string, outcome: 'none' | 'unknown'): MailroomError {
    const facts = { store: this.#cluster.name, reason }
    return new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome })
  }
}
