/**
 * Examples as pages show them, in blocks of `console`: lines with `$ ` are typed, what follows is printed. Ids,
 * instants and whatever else is new in each run may differ from what is shown, but only as a whole: an id that
 * is shown twice is the same id twice, and a command that names a shown id is given the real one.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** A command and what is shown of its output. */
export interface Step {
  command: string
  shown: string
}

/** What of a shown output may differ: an id, an instant, a request's id, which messages actor it was, and `…`. */
const PARTS =
  /(?<id>\b[0-9A-HJKMNP-TV-Z]{26}\b)|(?<at>\d{4}-\d\d-\d\dT[\d:.]+Z)|(?<=(?:deliveredTo|heldBy)":")(?<actor>messages-\d+)|(?<=requestId":")(?<request>[\w-]+)|(?<lines>^…\n)|(?<rest>…)|(?<gap> {2,})/gm
const ID = '[0-9A-HJKMNP-TV-Z]{26}'
const PATTERNS: Record<string, string> = {
  at: '\\d{4}-\\d\\d-\\d\\dT[\\d:.]{12}Z',
  actor: 'messages-\\d+',
  request: '[\\w-]+',
  lines: '(?:.*\\n)*?',
  rest: '.*',
  gap: ' {2,}',
}

/** The steps of a block. */
export function stepsOf(block: string): Step[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [command = '', ...shown] = step.split('\n')
      return { command, shown: shown.join('\n').trim() }
    })
}

/** Compares outputs with what is shown of them, and keeps which real id stands for which shown one. */
export class Likeness {
  readonly #realIds = new Map<string, string>()

  /** True when the output is what is shown, but for what may differ. */
  matches(shown: string, output: string): boolean {
    const found = new Map<string, string>()
    let pattern = ''
    let end = 0
    for (const match of shown.matchAll(PARTS)) {
      const [kind = '', part = ''] = Object.entries(match.groups!).find(([, value]) => value !== undefined)!
      pattern += literal(shown.slice(end, match.index))
      end = match.index + part.length
      pattern += kind === 'id' ? this.#patternOf(part, found) : PATTERNS[kind]!
    }
    pattern += literal(shown.slice(end))
    const match = new RegExp(`^${pattern}$`).exec(output.replaceAll('\r', '').trim())
    if (match === null) return false
    for (const [id, name] of found) this.#realIds.set(id, match.groups![name]!)
    return true
  }

  /** A command with the real ids. */
  real(command: string): string {
    return command.replaceAll(PARTS, (part) => this.#realIds.get(part) ?? part)
  }

  #patternOf(id: string, found: Map<string, string>): string {
    const known = this.#realIds.get(id)
    if (known !== undefined) return known
    const name = found.get(id)
    if (name !== undefined) return `\\k<${name}>`
    found.set(id, `id${found.size}`)
    return `(?<id${found.size - 1}>${ID})`
  }
}

function literal(text: string): string {
  return text.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')
}

/**
 * Runs a command in a shell as a reader has it: without what npm tells the scripts it runs.
 *
 * @returns What it wrote to standard output. Rejects when it fails.
 */
export async function run(command: string, env: Record<string, string>): Promise<string> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'))
  const options = { env: { ...Object.fromEntries(own), ...env }, timeout: 60_000 }
  const { stdout } = await promisify(execFile)('sh', ['-c', command], options)
  return stdout
}
