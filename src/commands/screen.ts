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

/** Shows texts on the terminal this process has, until a key ends it. */
export class Screen {
  readonly #left = new AbortController()

  constructor() {
    process.stdin.setRawMode(true)
    process.stdin.setEncoding('utf8').on('data', this.#onKeys).resume()
    process.stdout.write(ENTER)
  }

  /** Aborted by q, Ctrl-C or Ctrl-D. */
  get left(): AbortSignal {
    return this.#left.signal
  }

  /** Shows a text in place of the one before, as much of it as there is room for. */
  show(text: string): void {
    const { columns, rows } = process.stdout
    const lines = text.split('\n').map((line) => cut(line, columns))
    const shown =
      lines.length > rows ? [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more`] : lines
    process.stdout.write(HOME + shown.map((line) => line + CLEAR_LINE_REST).join('\n') + CLEAR_BELOW)
  }

  /** Gives the terminal back. */
  close(): void {
    process.stdin.off('data', this.#onKeys).pause()
    process.stdin.setRawMode(false)
    process.stdout.write(LEAVE)
  }

  readonly #onKeys = (keys: string) => {
    if ([...keys].some((key) => key === 'q' || key === CTRL_C || key === CTRL_D)) this.#left.abort()
  }
}

/** A line that is too long loses its colours with its end. */
function cut(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length > columns ? plain.slice(0, columns) : line
}
