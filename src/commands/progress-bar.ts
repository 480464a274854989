/** A progress bar in the last line of a terminal. */
import { systemClock as clock } from '../runtime/clock.ts'

const REDRAW_MS = 100
const WIDEST = 40
const CLEAR_LINE = '\r\x1b[K'

/** What a bar writes to. */
export interface Terminal {
  write(text: string): unknown
  readonly columns?: number
}

/** Redrawn in place, ten times a second at most; `clear` makes room for a line, and the bar comes back below. */
export class ProgressBar {
  readonly #terminal: Terminal
  readonly #total: number
  readonly #beganAt = clock.monotonic()
  #drawnAt = Number.NEGATIVE_INFINITY

  /** @param total What `done` will be in the end; 0: nobody knows, and only words are shown. */
  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal
    this.#total = total
  }

  /** Shows how far it is. */
  update(done: number, words: string): void {
    const now = clock.monotonic()
    if (now - this.#drawnAt < REDRAW_MS) return
    this.#drawnAt = now
    const columns = this.#terminal.columns ?? 80
    const line = this.#total > 0 ? this.#line(Math.min(1, done / this.#total), words, now) : words
    this.#terminal.write(`${CLEAR_LINE}${line.slice(0, columns - 1)}`)
  }

  /** Takes it away until the next update. */
  clear(): void {
    if (this.#drawnAt === Number.NEGATIVE_INFINITY) return
    this.#drawnAt = Number.NEGATIVE_INFINITY
    this.#terminal.write(CLEAR_LINE)
  }

  #line(share: number, words: string, now: number): string {
    const seconds = share > 0 ? ((now - this.#beganAt) / 1000) * (1 / share - 1) : 0
    const tail = ` ${String(Math.floor(share * 100)).padStart(3)} %  ${words}  ${inWords(Math.ceil(seconds))} to go`
    const width = Math.max(0, Math.min(WIDEST, (this.#terminal.columns ?? 80) - 1 - tail.length))
    const full = Math.round(width * share)
    return `${'█'.repeat(full)}${'░'.repeat(width - full)}${tail}`
  }
}

function inWords(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${seconds % 60} s`
    : `${Math.floor(seconds / 3600)} h`
}
