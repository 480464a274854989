/** What `mailroom send` tells while it sends lines: a bar on a terminal, one line at the end everywhere. */
import { SingleBar } from 'cli-progress'
import { systemClock as clock } from '../runtime/clock.ts'

/** How the sending ended. */
export type Ending = 'done' | 'failed' | 'interrupted'

/** Counts what was acknowledged. Everything is written to standard error; of a single text nothing is. */
export class SendProgress {
  readonly #beganAt = clock.monotonic()
  readonly #bar: SingleBar | undefined
  readonly #isSilent: boolean
  readonly #totalBytes: number
  #count = 0

  /** @param source `totalBytes` is what there is to read, 0 when nobody knows; undefined for a single text. */
  constructor(source: { totalBytes: number } | undefined) {
    this.#isSilent = source === undefined
    this.#totalBytes = source?.totalBytes ?? 0
    if (this.#isSilent || !process.stderr.isTTY) return
    const format =
      this.#totalBytes === 0 ? '{count} sent' : '{bar} {percentage}%  {count} sent  {eta_formatted} to go'
    this.#bar = new SingleBar({ format, stream: process.stderr, hideCursor: true, clearOnComplete: true })
    this.#bar.start(this.#totalBytes, 0, { count: 0 })
  }

  /** `count` more messages were acknowledged, the last of them ends at byte `readBytes`. */
  sent(count: number, readBytes: number): void {
    this.#count += count
    this.#bar?.update(Math.min(readBytes, this.#totalBytes), { count: this.#count })
  }

  /** Writes a line about something that happens; the bar stays below it. */
  tell(line: string): void {
    if (this.#bar !== undefined) process.stderr.write('\r\x1b[K')
    process.stderr.write(`${line}\n`)
  }

  /** Says the last word: what was acknowledged, and whether that is all. */
  end(ending: Ending): void {
    this.#bar?.stop()
    const seconds = Math.max(0.001, (clock.monotonic() - this.#beganAt) / 1000)
    const messages = `${this.#count} ${this.#count === 1 ? 'message' : 'messages'}`
    const rate = Math.round(this.#count / seconds)
    if (ending === 'interrupted') {
      process.stderr.write(`Interrupted: ${messages} acknowledged; some more may have been stored\n`)
    } else if (!this.#isSilent) {
      const verb = ending === 'done' ? 'Sent' : 'Failed after'
      process.stderr.write(`${verb} ${messages} in ${seconds.toFixed(1)} s (${rate}/s)\n`)
    }
  }
}
