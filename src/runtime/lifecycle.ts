/** How a process ends: the only file that catches signals and calls `process.exit`. */

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
 * Calls `first` at the first signal that asks this process to end; at a second one, when a second or more has
 * passed, calls `atOnce` and exits at once with 128 + its number.
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

/** Calls `listener` at every signal that asks this process to end, which then does not end by itself. */
export function onEverySignal(listener: (signal: EndSignal) => void): void {
  for (const signal of Object.keys(SIGNALS) as EndSignal[]) process.on(signal, () => listener(signal))
}

/** Calls `report` with whatever nobody caught, then exits with code 1: such an error is a bug. */
export function onBug(report: (error: unknown) => void): void {
  const end = (error: unknown) => {
    report(error)
    exit(1)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

/**
 * Calls `report` at the first SIGINT or SIGTERM, which then ends this process as if nobody had listened: a
 * shell sees the signal, not an exit code.
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
