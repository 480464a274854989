/**
 * Preloaded with `--import`: this process's wall clock is off by the milliseconds in the file $WALL_CLOCK_OFFSET. With
 * $TIME_PASSES its monotonic clock is off by as many (whole seconds): that time has passed.
 */
import { readFileSync } from 'node:fs'

const POLL_MS = 20
const now = Date.now
const hrtime = process.hrtime
let offsetMs = 0

function read(): void {
  offsetMs = Number(readFileSync(process.env['WALL_CLOCK_OFFSET']!, 'utf8'))
}

read()
setInterval(read, POLL_MS).unref()
Date.now = () => now() + offsetMs
if (process.env['TIME_PASSES'] !== undefined) {
  const passed = (): [number, number] => {
    const [seconds, nanoseconds] = hrtime()
    return [seconds + offsetMs / 1000, nanoseconds]
  }
  process.hrtime = Object.assign(passed, { bigint: hrtime.bigint })
}
