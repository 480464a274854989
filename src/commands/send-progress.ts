/** What `mailroom send` tells while it sends lines: a bar on a terminal, one line at the end everywhere. */
import { systemClock as clock } from '../runtime/clock.ts'
import { ProgressBar } from './progress-bar.ts'
import type { Source } from './send-source.ts'

/** How the sending ended. */
type Ending = 'done' | 'failed' | 'interrupted'

/** Counts what was acknowledged. Everything is written to standard error; of a single text nothing is. */
export class SendProgress {
  readonly #beganAt = clock.monotonic()
  readonly #bar: ProgressBar | undefined
  readonly #isSilent: boolean
  #count = 0

  /** @param isAlone Nothing else is written to the terminal meanwhile. */
  constructor(source: Source, { isAlone }: { isAlone: boolean }) {
    this.#isSilent = 'text' in source
    const isTyped = 'text' in source || (source.path === '-' && process.stdin.isTTY)
    if (isTyped || !isAlone || !process.stderr.isTTY) return
    this.#bar = new ProgressBar(process.stderr, source.totalBytes)
    this.#bar.update(0, 'nothing sent yet')
  }

  /** `count` more messages were acknowledged, the last of them ends at byte `readBytes`. */
  sent(count: number, readBytes: number): void {
    this.#count += count
    this.#bar?.update(readBytes, `${this.#count} sent`)
  }

  /** Writes a line about what happens meanwhile. */
  tell(line: string): void {
    this.#bar?.clear()
    process.stderr.write(`${line}\n`)
  }

  /** Says the last word: what was acknowledged, and whether that is all. */
  end(ending: Ending): void {
    const seconds = Math.max(0.001, (clock.monotonic() - this.#beganAt) / 1000)
    const messages = `${this.#count} ${this.#count === 1 ? 'message' : 'messages'}`
    const rate = Math.round(this.#count / seconds)
    if (ending === 'interrupted') {
      this.tell(`Interrupted: ${messages} acknowledged; some more may have been stored`)
    } else if (!this.#isSilent) {
      const verb = ending === 'done' ? 'Sent' : 'Failed after'
      this.tell(`${verb} ${messages} in ${seconds.toFixed(1)} s (${rate}/s)`)
    }
  }
}
