/** A client command of the real program, run to its end as from a pipe: no terminal, no colours. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'

/** The source of the program, run as it is. */
const CLI = new URL('../../src/cli.ts', import.meta.url).pathname

/** How a command ended, and what it said. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Running {
  child: ChildProcess
  ended: Promise<Ended>
}

export interface Options {
  /** Standard input; without it there is nothing to read. */
  input?: string | Buffer | Readable
  env?: Record<string, string>
  cwd?: string
  /** What runs it: the Node of the tests and the sources, unless said otherwise. */
  program?: [command: string, script: string]
}

/** Begins `mailroom …` without waiting; no MAILROOM_ variable of the tests' own environment reaches it. */
export function begin(
  args: readonly string[],
  { input = '', env = {}, cwd, program = [process.execPath, CLI] }: Options = {},
): Running {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(MAILROOM_|NO_COLOR$|FORCE_COLOR$)/.test(name),
  )
  const child = spawn(program[0], [program[1], ...args], {
    env: { ...Object.fromEntries(own), ...env },
    stdio: 'pipe',
    ...(cwd !== undefined && { cwd }),
  })
  // A command that ends before it has read everything.
  child.stdin.on('error', () => {})
  if (typeof input === 'string' || Buffer.isBuffer(input)) child.stdin.end(input)
  else input.pipe(child.stdin)
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[code, signal], stdout, stderr]) => ({ code, signal, stdout, stderr }),
  )
  return { child, ended }
}

/** Runs `mailroom …` to its end. */
export function run(args: readonly string[], options: Options = {}): Promise<Ended> {
  return begin(args, options).ended
}
