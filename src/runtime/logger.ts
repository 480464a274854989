/**
 * Structured logs on stdout: one JSON line per event, readable lines on a terminal. Writes are synchronous, so a
 * SIGKILL after the call loses no line. The only file that imports pino.
 */
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export type { Logger }

/**
 * Makes a process's logger.
 *
 * @param bindings Fields of every line, such as `{ actor: 'logging-1' }`.
 */
export function createLogger(level: string, bindings: Record<string, unknown>): Logger {
  const options = { level, base: { pid: process.pid, ...bindings } }
  return process.stdout.isTTY
    ? pino(
        options,
        pretty({ sync: true, singleLine: true, ignore: 'pid,hostname,node', translateTime: 'HH:MM:ss.l' }),
      )
    : pino(options, pino.destination({ dest: 1, sync: true }))
}
