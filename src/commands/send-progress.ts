/** What `mailroom send` tells while it sends: a bar on a terminal, one line at the end everywhere. */
import { SingleBar } from 'cli-progress'
import { systemClock as clock } from '../runtime/clock.ts'

/** Counts what was acknowledged. Everything is written to standard error. */
export class SendProgress {
  readonly #beganAt = clock.monotonic()
  readonly #bar: SingleBar | undefined
  readonly #totalBytes: number
  #count = 0

  /** @param totalBytes What there is to read; 0: nobody knows. */
  constructor({ bar, totalBytes }: { bar: boolean; totalBytes: number }) {
    this.#totalBytes = totalBytes
    if (!bar || !process.stderr.isTTY) return
    const format =
      totalBytes === 0 ? '{count} sent' : '{bar} {percentage}%  {count} sent  {eta_formatted} to go'
    this.#bar = new SingleBar({ format, stream: process.stderr, hideCursor: true, clearOnComplete: true })
    this.#bar.start(totalBytes, 0, { count: 0 })
  }

  /** `count` more messages were acknowledged, the last of them ends at byte `readBytes`. */
  sent(count: number, readBytes: number): void {
    this.#count += count
    this.#bar?.update(Math.min(readBytes, this.#totalBytes), { count: this.#count })
  }

  /** Says the last word; with `interrupted` that it is not all. */
  end({ interrupted }: { interrupted: boolean }): void {
    this.#bar?.stop()
    const seconds = Math.max(0.001, (clock.monotonic() - this.#beganAt) / 1000)
    const messages = `${this.#count} ${this.#count === 1 ? 'message' : 'messages'}`
    const rate = Math.round(this.#count / seconds)
    process.stderr.write(
      interrupted
        ? `Interrupted: ${messages} acknowledged; some more may have been stored\n`
        : `Sent ${messages} in ${seconds.toFixed(1)} s (${rate}/s)\n`,
    )
  }
}
