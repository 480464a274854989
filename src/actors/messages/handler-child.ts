/**
 * A real process for the handler: forked into a process group of its own, which is killed as a whole. What the
 * handler writes to stdout becomes log lines. Its stderr, environment and working directory are those of the worker.
 */
import { fork } from 'node:child_process'
import { extname } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { HANDLER_OUTPUT_MS } from '../../runtime/timings.ts'
import type { FromHandler } from './handler.ts'
import type { Spawn } from './handler-runner.ts'

const LINE_MAX_CHARACTERS = 8192
/** Lines of output that are logged in `HANDLER_OUTPUT_MS`. */
const LINES_MAX_COUNT = 1000

/** Starts processes that load the module at `path`. */
export function forkHandler(path: string, { clock, logger }: { clock: Clock; logger: Logger }): Spawn {
  const entry = fileURLToPath(new URL(`../../handler-process${extname(import.meta.url)}`, import.meta.url))
  return ({ onMessage, onExit }) => {
    const child = fork(entry, [path, String(process.pid)], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    let how: string | undefined
    let isReported = false
    const kill = () => killGroup(child.pid)
    const report = () => {
      if (how === undefined || child.connected || isReported) return
      isReported = true
      onExit(how)
    }
    child.on('message', (message) => onMessage(message as FromHandler))
    // Messages sent just before the end come before `disconnect`, but perhaps after `exit`.
    child.on('disconnect', () => {
      kill()
      report()
    })
    child.on('exit', (code, signal) => {
      kill() // What it has started may live on.
      how = `The handler's process ended with ${signal ?? `exit code ${code}`}`
      report()
    })
    child.on('error', (error) => {
      if (child.pid === undefined) how = `No process could be started for the handler: ${error.message}`
      report()
    })
    logLines(child.stdout!, clock, logger)
    return {
      send: (message) => {
        if (child.connected) child.send(message, () => {})
      },
      kill,
    }
  }
}

/** Kills a process and all that it has started, unless that has left the group. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nothing is left of it.
  }
}

/** Logs a handler's output, line by line. Long lines are cut. Lines beyond the maximum are counted. */
function logLines(output: Readable, clock: Clock, logger: Logger): void {
  let rest = ''
  let logged = 0
  let dropped = 0
  const log = (line: string) => {
    if (++logged > LINES_MAX_COUNT) dropped++
    else logger.info({ from: 'handler' }, line.slice(0, LINE_MAX_CHARACTERS))
  }
  const report = () => {
    if (dropped > 0) logger.warn({ dropped }, 'the handler writes too many lines; some were dropped')
    logged = dropped = 0
  }
  const cancel = clock.every(HANDLER_OUTPUT_MS, report)
  output.setEncoding('utf8')
  output.on('data', (text: string) => {
    const lines = text.split('\n')
    lines[0] = rest + lines[0]
    rest = lines.pop()!.slice(0, LINE_MAX_CHARACTERS)
    for (const line of lines) log(line)
  })
  output.on('close', () => {
    cancel()
    if (rest !== '') log(rest)
    report()
  })
}
