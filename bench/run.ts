/**
 * The benches under one command. Each is a script of its own, bench/<name>.ts, and writes bench/results/<name>.json.
 *
 *   npm run bench                       all, under 15 minutes
 *   npm run bench -- NAME [options]     one
 *   npm run bench -- --help             their names
 *   npm run bench -- NAME --help        what one measures, and its options
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'

interface Bench {
  summary: string
  /** About, on two cores. */
  seconds: number
  /** True: only when named. */
  isExtra?: boolean
}

const BENCHES: Record<string, Bench> = {
  start: { summary: 'from the command to ready: time, CPU, memory', seconds: 30 },
  posts: { summary: 'single posts, plain, keyed and signed, at 1 to 256 connections', seconds: 130 },
  sizes: { summary: 'single posts of 100 bytes to 64 KiB', seconds: 40 },
  scale: { summary: 'single posts with 1 to 4 logging and messages actors', seconds: 60 },
  stream: {
    summary: 'a million messages in one NDJSON stream; pages and look-ups at 1 k, 100 k, 1 M',
    seconds: 120,
  },
  deep: { summary: 'single posts while a million messages are waiting, beside an empty node', seconds: 110 },
  mailbox: { summary: 'the bounded mailbox in front of every actor', seconds: 15 },
  compare: { summary: 'Mailroom beside Koa with SQLite, RabbitMQ, BullMQ, NATS JetStream', seconds: 300 },
  crowd: {
    summary: 'single posts beside readers of everything, endless streams, waits and dead letters',
    seconds: 100,
    isExtra: true,
  },
  followers: {
    summary: 'single posts beside 1,000 readers of stats and 20 of logged, in turns with nobody',
    seconds: 90,
    isExtra: true,
  },
  idle: { summary: 'CPU of a node without work (60 s each)', seconds: 170, isExtra: true },
  overload: { summary: 'three times the posts that the node can take', seconds: 60, isExtra: true },
  page: {
    summary: 'the dashboard in Chromium with a million messages, and what a hundred open tabs cost posts',
    seconds: 300,
    isExtra: true,
  },
  hazelcast: {
    summary: 'the Hazelcast backend on real members (needs Java and Maven), and what journals cost',
    seconds: 300,
    isExtra: true,
  },
  reference: { summary: 'writes the last results into docs/performance.md', seconds: 1, isExtra: true },
}

const EXIT_USAGE = 64

let running: ChildProcess | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (running === undefined) process.exit(1)
    running.once('exit', () => process.exit(1))
    running.kill(signal)
  })
}

const [name, ...args] = process.argv.slice(2)
if (name === undefined) process.exitCode = await runAll()
else if (isHelp(name)) console.log(help())
else if (!Object.hasOwn(BENCHES, name)) {
  console.error(`No bench ${name}.\n\n${help()}`)
  process.exitCode = EXIT_USAGE
} else if (args.some(isHelp)) console.log(helpOf(name))
else process.exitCode = await run(name, args)

async function runAll(): Promise<number> {
  const failed: string[] = []
  for (const [name, { isExtra }] of Object.entries(BENCHES)) {
    if (!isExtra && (await run(name, [])) !== 0) failed.push(name)
  }
  if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`)
  return failed.length > 0 ? 1 : 0
}

/** Runs one bench; a signal that ends this process ends the bench first, with all that it has started. */
async function run(name: string, args: readonly string[]): Promise<number> {
  console.log(`\n== ${name}: ${BENCHES[name]!.summary}`)
  running = spawn(process.execPath, [scriptOf(name), ...args], { stdio: 'inherit' })
  const [code] = (await once(running, 'exit')) as [number | null]
  running = undefined
  return code ?? 1
}

function scriptOf(name: string): string {
  return new URL(`${name}.ts`, import.meta.url).pathname
}

function isHelp(word: string): boolean {
  return word === '--help' || word === '-h'
}

/** The comment at the top of a bench. */
function helpOf(name: string): string {
  const comment = /^\/\*\*\n(.*?)\n \*\/$/ms.exec(readFileSync(scriptOf(name), 'utf8'))![1]!
  return comment.replaceAll(/^ \* ?/gm, '')
}

function help(): string {
  const lines = Object.entries(BENCHES).map(
    ([name, { summary, seconds, isExtra }]) =>
      `  ${name.padEnd(10)} ${summary}; about ${seconds} s${isExtra ? '; only when named' : ''}`,
  )
  return `npm run bench -- [NAME [options]]; without a name: all, one after another\n\n${lines.join('\n')}\n\nNAME --help tells what a bench measures, and its options. Results are written to bench/results/NAME.json.`
}
