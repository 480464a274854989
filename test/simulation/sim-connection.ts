/** One process's connection to a simulated cluster: it has the interface of `storage/hazelcast/cluster.ts`. */

import { MailroomError } from '../../src/runtime/errors.ts'
import { CLUSTER_CALL_MS as CALL_MS, CLUSTER_RANGE_MS as RANGE_MS } from '../../src/runtime/timings.ts'
import type { Cluster, ClusterMap, ClusterQueue } from '../../src/storage/hazelcast/cluster.ts'
import type { SimProcess } from './process.ts'
import type { SimCluster } from './sim-cluster.ts'

/** Answers `Cluster`. */
export class SimConnection implements Cluster {
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

  /** It may fail as any call. Memory is not simulated: no member reports any. */
  memory(): Promise<[]> {
    return this.#call(this.#cluster.read('memory', () => []))
  }

  async members(): Promise<[]> {
    return []
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#up = false
  }

  map(name: string): ClusterMap {
    const cluster = this.#cluster
    const { partitions } = cluster
    const pathOf = (key: string) => `${name}|${key}`
    const write = <T>(what: string, key: string, effect: (path: string) => { answer: T; wrote: boolean }) => {
      const path = pathOf(key)
      return this.#call<T>((answer, fail) =>
        cluster.run({
          what: `${what} ${path}`,
          path,
          effect: () => {
            const { answer: value, wrote } = effect(path)
            return { answer: value, ...(wrote && { wrote: path }) }
          },
          answer,
          fail,
        }),
      )
    }
    const read = <T>(what: string, look: () => T, deadlineMs?: number) =>
      this.#call(cluster.read(what, look), deadlineMs)
    const setTtl = (key: string, ttlMs: number) =>
      write('setTtl', key, (path) => {
        const done = partitions.prolong(path, ttlMs)
        return { answer: done, wrote: done }
      })
    return {
      get: (key) => read(`get ${pathOf(key)}`, () => partitions.get(pathOf(key))),
      getAll: async (keys) => {
        if (keys.length === 0) return new Map()
        return read(`getAll ${name} ${keys.length}`, () => {
          const found = new Map<string, string>()
          for (const key of keys) {
            const value = partitions.get(pathOf(key))
            if (value !== undefined) found.set(key, value)
          }
          return found
        })
      },
      keys: (from, to) =>
        read(
          `keys ${name} ${from}..${to}`,
          () =>
            partitions
              .paths()
              .filter(
                (path) => path >= pathOf(from) && path <= pathOf(to) && partitions.get(path) !== undefined,
              )
              .map((path) => path.slice(name.length + 1)),
          RANGE_MS,
        ),
      putIfAbsent: (key, value, ttlMs) =>
        write('putIfAbsent', key, (path) => {
          const found = partitions.get(path)
          if (found === undefined) partitions.put(path, value, ttlMs)
          return { answer: found, wrote: found === undefined }
        }),
      set: (key, value, ttlMs) =>
        write('set', key, (path) => {
          partitions.put(path, value, ttlMs)
          return { answer: undefined, wrote: true }
        }),
      replaceIfSame: async (key, value, next, ttlMs) => {
        const done = await write('replace', key, (path) => {
          const same = partitions.get(path) === value
          if (same) partitions.put(path, next, 0)
          return { answer: same, wrote: same }
        })
        return done && (ttlMs === 0 || setTtl(key, ttlMs))
      },
      setTtl,
      delete: (key) =>
        write('delete', key, (path) => {
          partitions.delete(path)
          return { answer: undefined, wrote: true }
        }),
      removeIfSame: (key, value) =>
        write('remove', key, (path) => {
          const same = partitions.get(path) === value
          if (same) partitions.delete(path)
          return { answer: same, wrote: same }
        }),
      size: () =>
        read(`size ${name}`, () => partitions.paths().filter((path) => path.startsWith(`${name}|`)).length),
    }
  }

  queue(name: string): ClusterQueue {
    const cluster = this.#cluster
    const { queues } = cluster
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
      offer: (item) =>
        run('offer', () => {
          queues.offer(name, item)
          return true
        }),
      drain: (maxCount) => run('drain', () => queues.take(name, maxCount)),
      poll: (waitMs) =>
        this.#call<string | undefined>((answer, fail) => {
          cluster.run<string | undefined>({
            what: `poll ${name}`,
            path: name,
            effect: () => {
              const [item] = queues.take(name, 1)
              if (item === undefined) cluster.park(name, this.#process, waitMs, answer)
              return { answer: item }
            },
            answer: (item) => {
              if (item !== undefined) answer(item)
            },
            fail,
          })
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
