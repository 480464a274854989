/** The whole terminal, redrawn in place. */
import { stripVTControlCharacters } from 'node:util'

/** A screen of its own, which leaves what was on the terminal before as it was; the cursor is not shown. */
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE_REST = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
const CTRL_C = '\x03'
const CTRL_D = '\x04'

/** What keys come from: `process.stdin` on a terminal. */
export interface Keys {
  setRawMode(isRaw: boolean): unknown
  on(event: 'data', listener: (keys: Buffer) => void): unknown
  off(event: 'data', listener: (keys: Buffer) => void): unknown
  pause(): unknown
}

/** What is drawn on: `process.stdout` on a terminal. */
export interface Surface {
  readonly columns: number
  readonly rows: number
  write(text: string): unknown
}

/** Shows texts on a terminal until a key ends it. */
export class Screen {
  readonly #keys: Keys
  readonly #surface: Surface
  readonly #left = new AbortController()

  constructor(keys: Keys, surface: Surface) {
    this.#keys = keys
    this.#surface = surface
    keys.setRawMode(true)
    keys.on('data', this.#onKeys)
    surface.write(ENTER)
  }

  /** Aborted by q, Ctrl-C or Ctrl-D. */
  get left(): AbortSignal {
    return this.#left.signal
  }

  /** Shows a text in place of the one before, as much of it as there is room for. */
  show(text: string): void {
    const { columns, rows } = this.#surface
    const lines = text.split('\n').map((line) => cut(line, columns))
    const shown =
      lines.length > rows ? [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more`] : lines
    this.#surface.write(HOME + shown.map((line) => line + CLEAR_LINE_REST).join('\n') + CLEAR_BELOW)
  }

  /** Gives the terminal back. */
  close(): void {
    this.#keys.off('data', this.#onKeys)
    this.#keys.pause()
    this.#keys.setRawMode(false)
    this.#surface.write(LEAVE)
  }

  readonly #onKeys = (keys: Buffer) => {
    if ([...keys.toString('latin1')].some((key) => key === 'q' || key === CTRL_C || key === CTRL_D))
      this.#left.abort()
  }
}

/** A line that is too long loses its colours with its end. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length > columns ? plain.slice(0, columns) : line
}
