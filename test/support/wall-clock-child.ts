/** Preloaded with `--import`: this process's wall clock is off by the milliseconds in the file $WALL_CLOCK_OFFSET. */
import { readFileSync } from 'node:fs'

const POLL_MS = 20
const now = Date.now
let offsetMs = 0

function read(): void {
  offsetMs = Number(readFileSync(process.env['WALL_CLOCK_OFFSET']!, 'utf8'))
}

read()
setInterval(read, POLL_MS).unref()
Date.now = () => now() + offsetMs
