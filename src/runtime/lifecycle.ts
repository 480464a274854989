/** How a process ends. The only file that handles signals and calls `process.exit`. */

import type { Clock } from './clock.ts'
import { SAME_SIGNAL_MS } from './timings.ts'

/** The signals that ask a process to end. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
export type EndSignal = keyof typeof SIGNALS

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
  { first, atOnce }: { first: (signal: EndSignal) => void; atOnce: () => void },
): void {
  let firstAt: number | null = null
  for (const signal of Object.keys(SIGNALS) as EndSignal[]) {
    process.on(signal, () => {
      if (firstAt === null) {
        firstAt = clock.monotonic()
        first(signal)
      } else if (clock.monotonic() - firstAt >= SAME_SIGNAL_MS) {
        atOnce()
        exit(SIGNALS[signal])
      }
    })
  }
}

/** Calls `listener` at every end signal. The process then does not end by itself. */
export function onEverySignal(listener: (signal: EndSignal) => void): void {
  for (const signal of Object.keys(SIGNALS) as EndSignal[]) process.on(signal, () => listener(signal))
}

/** Calls `report` with an uncaught error, which is a bug, then exits with code 1. */
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
