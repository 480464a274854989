/** The load generator as a bench uses it. */
import { type Child, startScript } from './child.ts'
import type { Tally } from './texts.ts'

/** One run of the generator. */
export interface Load {
  /** On 127.0.0.1. */
  port: number
  connections: number
  seconds: number
  /** The start of every text; unlike that of every other run on this server. */
  run: string
  /** Bytes of a text. */
  size: number
  /** True: every post has an Idempotency-Key of its own. */
  keyed?: boolean
  /** With it, each text is posted to the source `bench`, signed with this secret. */
  secret?: string
}

/** What a run of the generator measured. Every post was answered 201. */
export interface Loaded {
  acknowledged: Pick<Tally, 'count' | 'checksum'>
  seconds: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** CPU time of the generator a request, in microseconds. */
  generatorCpuUs: number
}

/** Bytes of a text where a bench does not vary them. */
export const SIZE = 400

/** The generator's process. */
export class Generator {
  readonly #child: Child
  #runs = 0

  private constructor(child: Child) {
    this.#child = child
  }

  static async start(): Promise<Generator> {
    const { child } = await startScript(new URL('generator.ts', import.meta.url))
    return new Generator(child)
  }

  /**
   * Posts for some seconds.
   *
   * @throws {Error} When anything but a 201 is answered.
   */
  async run(load: Omit<Load, 'run' | 'size'> & { size?: number }): Promise<Loaded> {
    const run = `${process.pid}-${String(++this.#runs).padStart(4, '0')}`
    return this.#child.ask<Loaded>({ size: SIZE, ...load, run })
  }

  async end(): Promise<void> {
    await this.#child.end()
  }
}
