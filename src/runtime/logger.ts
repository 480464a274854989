/**
 * Structured logs on stdout: one JSON line per event, readable lines on a terminal. A line is written within the call,
 * so a SIGKILL after it loses no line. The only file that imports pino. What makes lines readable is loaded for a terminal.
 */
import { createRequire } from 'node:module'
import type { Readable } from 'node:stream'
import { type Logger, pino } from 'pino'
import { outputOf } from './output.ts'

export type { Logger }

/**
 * Makes a process's logger.
 *
 * @param bindings Fields of every line, such as `{ actor: 'logging-1' }`.
 */
export function createLogger(level: string, bindings: Record<string, unknown>): Logger {
  const stdout = outputOf(1)
  const write = (line: string) => stdout.write(stdout.isTerminal ? readable(line.trimEnd()) : line)
  const logger = pino({ level, base: { pid: process.pid, ...bindings } }, { write })
  for (const output of [stdout, outputOf(2)]) {
    output.onDropped = (count) =>
      logger.warn({ count }, count === 1 ? '1 log line was dropped' : `${count} log lines were dropped`)
  }
  return logger
}

/** Writes the output of a worker to this process's own. A worker that could not be started has none. */
export function forwardOutput({
  stdout,
  stderr,
}: {
  stdout?: Readable | null
  stderr?: Readable | null
}): void {
  const own = outputOf(1)
  if (stdout) own.forward(stdout, own.isTerminal ? readable : (line) => `${line}\n`)
  if (stderr) outputOf(2).forward(stderr, (line) => `${line}\n`)
}

let pretty: ((line: string) => string) | undefined

function readable(line: string): string {
  if (pretty === undefined) {
    const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
    pretty = prettyFactory({ singleLine: true, ignore: 'pid,hostname,node', translateTime: 'HH:MM:ss.l' })
  }
  return pretty(line)
}
