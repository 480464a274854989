/**
 * Structured logs on stdout: one JSON line an event, pretty on a terminal. The destination is synchronous: a
 * line is out before the call returns, so a SIGKILL right after it loses nothing. The only door to pino.
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
