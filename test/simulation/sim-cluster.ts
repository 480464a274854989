/**
 * A simulated Hazelcast cluster. A call is a request, its effect on the primary, its copy on the backup and a
 * reply, each an event of its own. Requests and replies may be late or lost, and a copy may never be made. When a
 * primary replica is lost, only its backup is left.
 */
import type { Cluster } from '../../src/storage/hazelcast/cluster.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { SimConnection } from './sim-connection.ts'
import { SimPartitions } from './sim-partitions.ts'
import { SimQueues } from './sim-queues.ts'

/** A lost connection to the cluster stands again so long after it can. */
const RECONNECT_MS = 400
/** So long a member takes to start (measured). */
export const MEMBER_START_MS = 1400

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
export interface Call<T> {
  /** For the record. */
  what: string
  path: string
  /** Happens on the primary; `wrote`: the entry it changed. */
  effect: () => { answer: T; wrote?: string }
  answer: (value: T) => void
  fail: () => void
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
  readonly partitions: SimPartitions
  readonly queues: SimQueues
  readonly #scheduler: Scheduler
  readonly #rng: Rng
  readonly #bugs: ClusterBugs
  /** Grows when all members stop. */
  #life = 0
  /** Not reachable before. */
  #backFrom = 0
  readonly #connections = new Set<SimConnection>()

  constructor(name: string, scheduler: Scheduler, rng: Rng, bugs: ClusterBugs) {
    this.name = name
    this.#scheduler = scheduler
    this.#rng = rng
    this.#bugs = bugs
    this.partitions = new SimPartitions(scheduler, rng)
    this.queues = new SimQueues(scheduler, rng)
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

  /** All members stop: all that they held is gone, and every call on its way with the connection it came by. */
  stop(): void {
    this.#scheduler.note(`${this.name} stops, and what it held is gone`)
    this.#life++
    this.#backFrom = this.#scheduler.now + MEMBER_START_MS
    this.partitions.clear()
    this.queues.clear()
    this.goAway()
  }

  comeBack(): void {
    if (this.reachable) return
    const waitMs = this.#backFrom - this.#scheduler.now
    if (waitMs > 0) return void this.#scheduler.after(waitMs, () => this.comeBack())
    this.#scheduler.note(`${this.name} is back`)
    this.reachable = true
    for (const connection of this.#connections) {
      this.#scheduler.after(this.#rng.between(10, RECONNECT_MS), () => connection.mend())
    }
  }

  /** A member dies: its backups take over, and are copied elsewhere; a moment later it is there again, empty. */
  loseMember(member: number): void {
    this.#scheduler.note(`${this.name}: member ${member} dies`)
    this.partitions.loseMember(member)
    this.queues.loseSome()
    for (const connection of this.#connections) connection.drop(0.4)
  }

  /** A member answers nothing for so long. */
  freezeMember(member: number, forMs: number): void {
    this.#scheduler.note(`${this.name}: member ${member} freezes for ${forMs.toFixed(0)} ms`)
    this.partitions.freezeMember(member, forMs)
  }

  /** Sends a call. Its answer comes, or an error that says that nobody knows, or nothing. */
  run<T>(call: Call<T>): void {
    const { lossOfRequest, delayMs, straggleMs } = this.weather
    if (this.#rng.chance(lossOfRequest)) {
      this.#lose(call, 'request')
      return
    }
    const life = this.#life
    const straggles = straggleMs > 0 && this.#rng.chance(0.3)
    if (straggles) this.straggling++
    this.#scheduler.after(this.#rng.between(0.05, delayMs) + (straggles ? straggleMs : 0), () => {
      if (straggles) this.straggling--
      this.#serve(call, life)
    })
  }

  /** A call that reads many keys: one moment for all, as reads have no order to keep. */
  read<T>(what: string, look: () => T) {
    return (answer: (value: T) => void, fail: () => void) =>
      this.run({ what, path: what, effect: () => ({ answer: look() }), answer, fail })
  }

  /** A taker waits for an item of a queue. */
  park(name: string, process: SimProcess, waitMs: number, answer: (item: string | undefined) => void): void {
    const call = { what: `poll ${name}`, answer, fail: () => {} }
    this.queues.park(name, process, waitMs, (item) => this.#reply(call, item))
  }

  /** The request has come to the primary. */
  #serve<T>(call: Call<T>, life: number): void {
    const { now } = this.#scheduler
    const { servedFrom } = this.partitions.of(call.path)
    if (servedFrom > now) {
      this.straggling++
      this.#scheduler.after(servedFrom - now + 0.01, () => {
        this.straggling--
        this.#serve(call, life)
      })
      return
    }
    if (!this.reachable || life !== this.#life) {
      this.#lose(call, 'request')
      return
    }
    const { answer, wrote } = call.effect()
    this.#scheduler.note(`${this.name}: ${call.what}`)
    if (wrote === undefined) this.#reply(call, answer)
    else if (this.#rng.chance(this.weather.lossOfCopy)) this.#lose(call, 'copy')
    else this.#copy(call, wrote, answer)
  }

  /** What was written goes to the backup; then the caller is answered. */
  #copy<T>(call: Call<T>, path: string, answer: T): void {
    const { withoutSyncBackup } = this.#bugs
    this.partitions.copy(path, { lateMs: withoutSyncBackup ? 200 : 0 }, (isThere) => {
      if (!isThere) call.fail()
      else if (!withoutSyncBackup) this.#reply(call, answer)
    })
    if (withoutSyncBackup) this.#reply(call, answer)
  }

  #reply<T>(call: Pick<Call<T>, 'what' | 'answer' | 'fail'>, answer: T): void {
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
