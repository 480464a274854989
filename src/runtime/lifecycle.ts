/** How a process ends. The only file that handles signals and calls `process.exit`. */

import { isatty } from 'node:tty'
import type { Clock } from './clock.ts'
import { SAME_SIGNAL_MS } from './timings.ts'

/**
 * The signals that ask a process to end. SIGHUP does so only on a terminal, which was closed then: Node takes back what
 * `nohup` has set, and a node without a terminal is to outlive the logout of the user who started it.
 */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
export type EndSignal = keyof typeof SIGNALS
/** The exit code of Node when nothing is left to wait for but the main module's promise. */
const UNSETTLED_CODE = 13

/** Ends this process now. */
export function exit(code: number): never {
  process.exit(code)
}

/**
 * Calls `first` at the first end signal. A second signal, 1 s or more later, calls `atOnce` and exits at once with
 * 128 + the signal's number.
 */
export function onEndSignal(
  clock: Clock,
  { first, atOnce }: { first: (signal: EndSignal) => void; atOnce: (signal: EndSignal) => void },
): void {
  let firstAt: number | null = null
  onEverySignal((signal) => {
    if (firstAt === null) {
      firstAt = clock.monotonic()
      first(signal)
    } else if (clock.monotonic() - firstAt >= SAME_SIGNAL_MS) {
      atOnce(signal)
      exit(SIGNALS[signal])
    }
  })
}

/** Calls `listener` at every end signal. The process then does not end by itself. */
export function onEverySignal(listener: (signal: EndSignal) => void): void {
  const hasTerminal = [0, 1, 2].some((fd) => isatty(fd))
  for (const signal of Object.keys(SIGNALS) as EndSignal[]) {
    process.on(signal, () => {
      if (signal !== 'SIGHUP' || hasTerminal) listener(signal)
    })
  }
}

/** Calls `report` with an uncaught error, or one for a wait that cannot end: bugs. Then the process exits with code 1. */
export function onBug(report: (error: unknown) => void): void {
  const end = (error: unknown) => {
    try {
      report(error)
    } finally {
      exit(1)
    }
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
  process.on('exit', (code) => {
    if (code !== UNSETTLED_CODE) return
    process.exitCode = 1
    report(new Error('nothing is left to wait for'))
  })
}

/** Calls `report` with an uncaught error of code that is not ours. The process goes on. */
export function onStray(report: (error: unknown) => void): void {
  process.on('uncaughtException', report)
  process.on('unhandledRejection', report)
}

/**
 * Calls `report` at the first SIGINT or SIGTERM, then lets the signal end this process, so that a shell sees the
 * signal and not an exit code.
 *
 * @returns Stops listening.
 */
export function onInterrupt(report: () => void): () => void {
  const end = (signal: NodeJS.Signals) => {
    forget()
    report()
    process.kill(process.pid, signal)
  }
  const forget = () => {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
  }
  process.on('SIGINT', end).on('SIGTERM', end)
  return forget
}
