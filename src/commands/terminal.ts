/** Output for people: lines, a progress bar, a screen that is redrawn in place. */

import { stripVTControlCharacters, styleText } from 'node:util'
import { systemClock as clock } from '../runtime/clock.ts'
import { REDRAW_MS } from '../runtime/timings.ts'

/** Writes a line to standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** `1 message`, `2 messages`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/**
 * A table, its titles bold on a terminal; no line feed at its end.
 *
 * @param wordColumns The first columns are words, aligned left; the others are numbers, aligned right.
 * @param colour Colours the line of a row.
 */
export function table(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  { wordColumns, colour = (_, line) => line }: TableOptions,
): string {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((cells) => cells[column]!.length)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column < wordColumns ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  const lines = rows.map((cells, index) => colour(index, line(cells)))
  return [styleText('bold', line(titles)), ...lines].join('\n')
}

interface TableOptions {
  wordColumns: number
  colour?: (row: number, line: string) => string
}

/** The bar that is drawn now. */
let drawn: ProgressBar | undefined

let isJson = false

/** Says whether standard error is for a program (`--json`): then notes are JSON, and nothing is drawn. */
export function writeJson(on: boolean): void {
  isJson = on
}

/** Writes a note to standard error: a line above the progress bar, or with `--json` one object `{"note"}`. */
export function report(line: string): void {
  drawn?.clear()
  process.stderr.write(`${isJson ? printable({ note: line.trim() }) : line}\n`)
}

/** A progress bar on standard error; undefined where nobody looks at one. @param total As of `ProgressBar`. */
export function progressBar(total: number): ProgressBar | undefined {
  return process.stderr.isTTY && !isJson ? new ProgressBar(process.stderr, total) : undefined
}

/**
 * A value as JSON that is harmless to a terminal: control characters and characters that reverse text, of
 * which JSON escapes only some, are all escaped.
 */
export function printable(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(
    /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const BAR_WIDEST = 40
const CLEAR_LINE = '\r\x1b[K'

/** What a bar or a screen is drawn on: `process.stderr` or `process.stdout` on a terminal. */
export interface Terminal {
  write(text: string): unknown
  readonly columns?: number
  readonly rows?: number
}

/**
 * A progress bar in the last line of a terminal, redrawn at most ten times a second. `report` prints a line above
 * it.
 */
export class ProgressBar {
  readonly #terminal: Terminal
  readonly #total: number
  readonly #beganAt = clock.monotonic()
  #drawnAt = Number.NEGATIVE_INFINITY

  /** @param total The final value of `done`; 0 when it is unknown: then only the words are shown. */
  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal
    this.#total = total
  }

  /** Shows the progress. @param done In the unit of `total`. */
  update(done: number, words: string): void {
    const now = clock.monotonic()
    if (now - this.#drawnAt < REDRAW_MS) return
    this.#drawnAt = now
    drawn = this
    const columns = this.#terminal.columns ?? 80
    const line = this.#total > 0 ? this.#line(Math.min(1, done / this.#total), words, now) : words
    this.#terminal.write(`${CLEAR_LINE}${line.slice(0, columns - 1)}`)
  }

  /** Removes the bar until the next update. */
  clear(): void {
    if (this.#drawnAt === Number.NEGATIVE_INFINITY) return
    this.#drawnAt = Number.NEGATIVE_INFINITY
    drawn = undefined
    this.#terminal.write(CLEAR_LINE)
  }

  #line(share: number, words: string, now: number): string {
    const seconds = share > 0 ? ((now - this.#beganAt) / 1000) * (1 / share - 1) : 0
    const tail = ` ${String(Math.floor(share * 100)).padStart(3)} %  ${words}  ${inWords(Math.ceil(seconds))} to go`
    const width = Math.max(0, Math.min(BAR_WIDEST, (this.#terminal.columns ?? 80) - 1 - tail.length))
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

/** Switches to the alternate screen, which keeps the contents of the main one, and hides the cursor. */
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE_REST = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
/** q, Ctrl-C, Ctrl-D. */
const LEAVE_KEYS = ['q', '\x03', '\x04']

/** Where keys are read from: `process.stdin` on a terminal. */
export interface Keys {
  setRawMode(isRaw: boolean): unknown
  on(event: 'data', listener: (keys: Buffer) => void): unknown
  off(event: 'data', listener: (keys: Buffer) => void): unknown
  pause(): unknown
}

/** The whole terminal, redrawn in place. */
export class Screen {
  readonly #keys: Keys
  readonly #terminal: Terminal
  readonly #left = new AbortController()

  constructor(keys: Keys, terminal: Terminal) {
    this.#keys = keys
    this.#terminal = terminal
    keys.setRawMode(true)
    keys.on('data', this.#onKeys)
    terminal.write(ENTER)
  }

  /** Aborted by q, Ctrl-C or Ctrl-D. */
  get left(): AbortSignal {
    return this.#left.signal
  }

  /** Replaces the text shown. Lines that do not fit are cut or counted. */
  show(text: string): void {
    const { columns = 80, rows = 24 } = this.#terminal
    const lines = text.split('\n').map((line) => cut(line, columns))
    const shown =
      lines.length > rows ? [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more`] : lines
    this.#terminal.write(HOME + shown.map((line) => line + CLEAR_LINE_REST).join('\n') + CLEAR_BELOW)
  }

  /** Restores the terminal. */
  close(): void {
    this.#keys.off('data', this.#onKeys)
    this.#keys.pause()
    this.#keys.setRawMode(false)
    this.#terminal.write(LEAVE)
  }

  readonly #onKeys = (keys: Buffer) => {
    if (LEAVE_KEYS.some((key) => keys.includes(key))) this.#left.abort()
  }
}

/** Cuts a line that is too long; it loses its colours, too. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length > columns ? plain.slice(0, columns) : line
}
