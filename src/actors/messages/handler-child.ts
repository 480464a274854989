/**
 * A real process for the handler: forked into a process group of its own, which is killed as a whole. What the
 * handler writes becomes log lines: of stdout at level info, of stderr at level warn. Its environment and working
 * directory are those of the worker.
 */
import { fork } from 'node:child_process'
import { extname } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Cancel, Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { HANDLER_OUTPUT_MS } from '../../runtime/timings.ts'
import type { FromHandler } from './handler.ts'
import type { Spawn } from './handler-runner.ts'

const LINE_MAX_CHARACTERS = 8192
/** Lines of stdout, and of stderr, that are logged in `HANDLER_OUTPUT_MS`. */
const LINES_MAX_COUNT = 1000

/** Starts processes that load the module at `path`. */
export function forkHandler(path: string, { clock, logger }: { clock: Clock; logger: Logger }): Spawn {
  const entry = fileURLToPath(new URL(`../../handler-process${extname(import.meta.url)}`, import.meta.url))
  return ({ onMessage, onExit }) => {
    const child = fork(entry, [path, String(process.pid)], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
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
    logLines(child.stdout!, 'info', { clock, logger })
    logLines(child.stderr!, 'warn', { clock, logger })
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

/** Logs what a handler writes, line by line. Long lines are cut. Lines beyond the maximum are counted. */
function logLines(
  output: Readable,
  level: 'info' | 'warn',
  { clock, logger }: { clock: Clock; logger: Logger },
): void {
  let rest = ''
  let count = 0
  let cancel: Cancel = () => {}
  const log = (line: string) => {
    if (count++ === 0) cancel = clock.after(HANDLER_OUTPUT_MS, report)
    if (count <= LINES_MAX_COUNT) logger[level]({ from: 'handler' }, line.slice(0, LINE_MAX_CHARACTERS))
  }
  const report = () => {
    const dropped = count - LINES_MAX_COUNT
    if (dropped > 0) logger.warn({ dropped }, 'the handler writes too many lines; some were dropped')
    count = 0
  }
  output.setEncoding('utf8')
  output.on('data', (text: string) => {
    const lines = text.split('\n')
    lines[0] = rest + lines[0]
    rest = lines.pop()!.slice(0, LINE_MAX_CHARACTERS)
    for (const line of lines) log(line)
  })
  output.on('close', () => {
    if (rest !== '') log(rest)
    cancel()
    report()
  })
}
