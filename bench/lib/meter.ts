/** Single posts to one system, measured: rate, latency, and what all of its processes used until all was consumed. */
import { median, shown, shownSpread, spread } from './figures.ts'
import type { Generator, Load, Loaded } from './load.ts'
import { SIZE } from './load.ts'
import { usageOf } from './processes.ts'
import { Tally } from './texts.ts'

/** A system that runs. */
export interface System {
  /** Of `POST /messages`, on 127.0.0.1. */
  port: number
  /** With their descendants, all of its processes. */
  pids: readonly number[]
  /** Waits until this many messages have been consumed since its start. */
  untilConsumed(count: number): Promise<void>
}

/** One load of one system. */
export interface Measured extends Omit<Loaded, 'acknowledged'> {
  connections: number
  keyed: boolean
  /** Posted to a source, signed. */
  signed: boolean
  sizeBytes: number
  messages: number
  /** Acknowledged a second. */
  perSecond: number
  /** From the last acknowledgement until all was consumed. */
  behindSeconds: number
  /** CPU time a message of all processes until all was consumed, in microseconds. */
  cpuUs: number
  /** Bytes written to disk a byte of text. */
  writtenRatio: number
}

/** Loads one system and keeps the tally of what it acknowledged. */
export class Meter {
  readonly acknowledged = new Tally()
  readonly #system: System
  readonly #generator: Generator

  constructor(system: System, generator: Generator) {
    this.#system = system
    this.#generator = generator
  }

  /** Loads the system, and waits until everything is consumed. */
  async measure(
    load: Pick<Load, 'connections' | 'seconds' | 'keyed' | 'secret'> & { size?: number },
  ): Promise<Measured> {
    const { port, pids } = this.#system
    const before = usageOf(pids)
    const { acknowledged, ...loaded } = await this.#generator.run({ port, ...load })
    const answeredAt = performance.now()
    this.acknowledged.join(acknowledged)
    await this.#system.untilConsumed(this.acknowledged.count)
    const behindSeconds = (performance.now() - answeredAt) / 1000
    const after = usageOf(pids)
    const { connections, keyed = false, size: sizeBytes = SIZE, secret } = load
    const signed = secret !== undefined
    const messages = acknowledged.count
    return {
      ...{ connections, keyed, signed, sizeBytes, messages, behindSeconds, ...loaded },
      perSecond: messages / loaded.seconds,
      cpuUs: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / messages,
      writtenRatio: (after.writtenBytes - before.writtenBytes) / (messages * sizeBytes),
    }
  }
}

/** A measurement in one line. */
export function shownMeasured({ connections, perSecond, p50Ms, p99Ms, cpuUs }: Measured): string {
  return `${String(connections).padStart(3)} connections  ${shown(perSecond).padStart(7)}/s, p50 ${shown(p50Ms, 2)} ms, p99 ${shown(p99Ms, 1)} ms, CPU ${shown(cpuUs)} us a message`
}

/** Headings of `cellsOf`. */
export const HEADINGS = ['201 a second', 'p50 ms', 'p99 ms', 'CPU us', 'behind s', 'written']

/** What the columns mean, for people. */
export const LEGEND = `Medians (least to most), texts of ${SIZE} bytes where nothing else is said.
CPU us: microseconds of CPU time a message of all processes of the system, until it is consumed.
behind s: from the last 201 until the last message was consumed (Mailroom tells it once a second).
written: bytes written to disk a byte of text.`

/** The cells of one row of a table: medians of these rounds. */
export function cellsOf(rounds: readonly Measured[]): string[] {
  const of = (what: 'perSecond' | 'p50Ms' | 'p99Ms' | 'cpuUs' | 'behindSeconds' | 'writtenRatio') =>
    spread(rounds.map((round) => round[what]))
  return [
    ...[shownSpread(of('perSecond')), shown(of('p50Ms').median, 2), shown(of('p99Ms').median, 1)],
    ...[shownSpread(of('cpuUs')), shown(of('behindSeconds').median, 2), shown(of('writtenRatio').median, 1)],
  ]
}

/** CPU time of the generator a request, in one line. The fewer connections, the more wake-ups a request. */
export function shownGenerator(measured: readonly Measured[]): string {
  const each = Map.groupBy(measured, ({ connections }) => connections)
  const cells = [...each].map(([connections, those]) => {
    const us = median(those.map(({ generatorCpuUs }) => generatorCpuUs))
    return `${shown(us)} at ${connections}`
  })
  return `Load generator: ${cells.join(', ')} connections (microseconds of CPU time a request, not in the figures).`
}
