/** A client command of the real program, run to its end as from a pipe: no terminal, no colours. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { mock } from 'node:test'
import { outputOf } from '../../src/runtime/output.ts'

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
  const child = spawn(program[0], [program[1], ...args], {
    env: { ...inherited(), ...env },
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

let before: Promise<unknown> = Promise.resolve()
let commandCount = 0

/**
 * Runs `mailroom …` to its end in this process, one after the other: the whole of the program's source, anew for each,
 * with streams, variables, working directory and exit code of its own. 20 times as fast as a process of its own.
 * Not for a node that starts, nor for what signals and terminals do.
 */
export function runHere(args: readonly string[], options: Options = {}): Promise<Ended> {
  const ended = before.then(() => runAlone(args, options))
  before = ended.catch(() => {})
  return ended
}

async function runAlone(
  args: readonly string[],
  { input = '', env = {}, cwd = '.' }: Options,
): Promise<Ended> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  if (typeof input === 'string' || Buffer.isBuffer(input)) stdin.end(input)
  else input.pipe(stdin)
  const said = Promise.all([text(stdout), text(stderr)])
  const own = {
    argv: [process.execPath, CLI, ...args],
    env: { ...inherited(), ...env },
    stdin,
    stdout,
    stderr,
  }
  const kept = Object.keys(own).map(
    (name) => [name, Object.getOwnPropertyDescriptor(process, name)!] as const,
  )
  const [keptCode, keptDirectory] = [process.exitCode, process.cwd()]
  const mocks = [
    mock.method(outputOf(2), 'write', (lines: string) => stderr.write(lines)),
    // yargs prints help with it.
    mock.method(console, 'log', (text: string) => stdout.write(`${text}\n`)),
  ]
  process.exitCode = 0
  try {
    process.chdir(cwd)
    for (const [name, value] of Object.entries(own)) {
      Object.defineProperty(process, name, { value, configurable: true, enumerable: true, writable: true })
    }
    await import(`${CLI}?${++commandCount}`)
    const code = process.exitCode as number
    stdout.end()
    stderr.end()
    const [shown, told] = await said
    return { code, signal: null, stdout: shown, stderr: told }
  } finally {
    for (const [name, descriptor] of kept) Object.defineProperty(process, name, descriptor)
    process.chdir(keptDirectory)
    process.exitCode = keptCode
    for (const { mock } of mocks) mock.restore()
  }
}

/** The variables of the tests' own environment that a command gets, too. */
function inherited(): Record<string, string | undefined> {
  const all = Object.entries(process.env)
  return Object.fromEntries(all.filter(([name]) => !/^(MAILROOM_|NO_COLOR$|FORCE_COLOR$)/.test(name)))
}
