/**
 * The network between simulated processes. A call is three events: the request arrives, it is served, the reply
 * arrives. Each may be late or lost. A process that dies breaks the calls it serves. A frozen process serves its calls
 * when it is thawed, even if the callers have given up.
 */
import type { Logging, Messages, Peers } from '../../src/actors/protocol.ts'
import { type Ask, type Methods, remoteLogging, remoteMessages } from '../../src/http/internal/calls.ts'
import { fromWire, MailroomError, toWire } from '../../src/runtime/errors.ts'
import { SimulatedFault } from './node.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** How bad the network is now. */
export interface Weather {
  /** Probability that a request is lost; and a reply. */
  lossOfRequest: number
  lossOfReply: number
  /** The longest a request or a reply takes, in ms. */
  delayMs: number
}

const CALM: Weather = { lossOfRequest: 0, lossOfReply: 0, delayMs: 3 }
/** A lost connection is noticed so fast. */
const RESET_MS = 1
/** Who has to end does it so fast, though it may drain just then. */
const END_MS = 11_000

/** Carries calls. */
export class Network {
  weather: Weather = CALM
  /** Requests and replies that were lost. */
  lostCount = 0
  /** What code threw that is no error of ours: bugs. */
  readonly bugs: string[] = []
  /** Of a planted bug: a lost reply is reported as a connection that was never made. */
  liesAboutLoss = false
  readonly #scheduler: Scheduler
  readonly #rng: Rng
  readonly #servers = new Map<string, { process: SimProcess; methods: Methods }>()

  constructor(scheduler: Scheduler, rng: Rng) {
    this.#scheduler = scheduler
    this.#rng = rng
  }

  calm(): void {
    this.weather = CALM
  }

  /** Serves at an address until closed, or until the process dies. */
  serve(address: string, process: SimProcess, methods: Methods): () => void {
    // Code of a process that has just died may still run to its next await.
    if (!process.alive) return () => {}
    this.#servers.set(address, { process, methods })
    const close = () => void this.#servers.delete(address)
    process.onDeath(close)
    return close
  }

  /** Addresses that begin so. */
  addresses(prefix: string): string[] {
    return [...this.#servers.keys()].filter((address) => address.startsWith(prefix))
  }

  /** One call. Settles within `timeoutMs`, unless the caller dies. */
  call(
    from: SimProcess,
    address: string,
    method: string,
    args: unknown[],
    timeoutMs: number,
  ): Promise<unknown> {
    if (!from.leaves()) return new Promise(() => {})
    const { resolve, reject, promise } = Promise.withResolvers<unknown>()
    const what = `${method} at ${address}`
    let settled = false
    const settle = (how: () => void) =>
      from.reach(() => {
        if (settled) return
        settled = true
        from.inFlight--
        cancel()
        how()
      })
    from.inFlight++
    const cancel = from.clock.after(timeoutMs, () =>
      settle(() => reject(new MailroomError('MR_DEADLINE_EXPIRED', { what, deadlineMs: timeoutMs }))),
    )
    const cut = (outcome: 'none' | 'unknown', reason: string) =>
      this.#scheduler.after(RESET_MS, () =>
        settle(() => {
          const told = this.liesAboutLoss ? 'none' : outcome
          reject(new MailroomError('MR_PEER_LOST', { peer: what, reason }, { outcome: told }))
        }),
      )
    const body = JSON.stringify(args)
    if (this.#rng.chance(this.weather.lossOfRequest)) {
      this.lostCount++
      this.#scheduler.note(`${from.name} -> ${what}: request lost`)
      if (this.#rng.chance(0.5)) cut('unknown', 'reset')
      return promise
    }
    this.#scheduler.after(this.#delay(), () => {
      const server = this.#servers.get(address)
      if (server === undefined) return void cut('none', 'refused')
      const forget = server.process.onDeath(() => cut('unknown', 'reset'))
      server.process.reach(() => {
        this.#scheduler.note(`${from.name} -> ${what}`)
        void this.#serve(server, method, body).then((answer) => {
          forget()
          if (!server.process.leaves()) return
          if (this.#rng.chance(this.weather.lossOfReply)) {
            this.lostCount++
            this.#scheduler.note(`${from.name} <- ${what}: reply lost`)
            if (this.#rng.chance(0.5)) cut('unknown', 'reset')
            return
          }
          this.#scheduler.after(this.#delay(), () =>
            settle(() => {
              if (answer.error === undefined) resolve(answer.value)
              else reject(fromWire(JSON.parse(answer.error)))
            }),
          )
        })
      })
    })
    return promise
  }

  /** Never rejects. Values cross as JSON, as they do on the wire. */
  async #serve(
    { process, methods }: { process: SimProcess; methods: Methods },
    method: string,
    body: string,
  ): Promise<{ value?: unknown; error?: string }> {
    process.inFlight++
    try {
      const value = await methods[method]!(...(JSON.parse(body) as never[]))
      return { value: value === undefined ? undefined : JSON.parse(JSON.stringify(value)) }
    } catch (error) {
      if (error instanceof SimulatedFault) this.#endsOf(process, error)
      else if (!(error instanceof MailroomError)) {
        this.bugs.push(`${process.name} ${method}: ${inFull(error)}`)
      }
      return { error: JSON.stringify(toWire(error)) }
    } finally {
      process.inFlight--
    }
  }

  /** Whose disk fails ends for it. */
  #endsOf(process: SimProcess, fault: SimulatedFault): void {
    this.#scheduler.after(END_MS, () => {
      if (process.alive && !process.frozen) this.bugs.push(`${process.name} outlives: ${inFull(fault)}`)
    })
  }

  #delay(): number {
    return this.#rng.between(0.05, this.weather.delayMs)
  }
}

/** `Peers` over the simulated network. */
export class SimPeers implements Peers {
  readonly #network: Network
  readonly #process: SimProcess

  constructor(network: Network, process: SimProcess) {
    this.#network = network
    this.#process = process
  }

  logging(address: string, timeoutMs: number): Logging {
    return remoteLogging(this.#asker(address, timeoutMs))
  }

  messages(address: string, timeoutMs: number): Messages {
    return remoteMessages(this.#asker(address, timeoutMs))
  }

  #asker(address: string, timeoutMs: number): Ask {
    return (method, args, { extraMs = 0 }) =>
      this.#network.call(this.#process, address, method, args, timeoutMs + extraMs)
  }
}

function inFull(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
