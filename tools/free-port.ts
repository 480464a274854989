/** Ports to listen on, for what is started by its port. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** Below those that systems give to outgoing connections: one of these is not taken by chance before it is listened on. */
const LOWEST = 20_000
const COUNT = 10_000
/** A process gives out ports of its own slices only, since a port it gave out may not be listened on yet. */
const SLICE = 100
const TRIES = 1000

let left: number[] = []
let taking: Promise<void> | undefined

/**
 * A port of 127.0.0.1 that nobody listens on: another one each time, and none that another process was given.
 *
 * @throws {Error} When none of a thousand is free.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = left.pop()
    if (port === undefined) {
      taking ??= takeSlice()
      await taking
      taking = undefined
      continue
    }
    const server = await listenOn(port)
    if (server === undefined) continue
    await once(server.close(), 'close')
    return port
  }
  throw new Error(`No free port from ${LOWEST} to ${LOWEST + COUNT - 1}`)
}

/** Tries to take one. It belongs to the process that listens on its first port, until that process ends. */
async function takeSlice(): Promise<void> {
  const first = LOWEST + SLICE * Math.floor((Math.random() * COUNT) / SLICE)
  const server = await listenOn(first)
  if (server === undefined) return
  server.unref()
  left = Array.from({ length: SLICE - 1 }, (_, index) => first + 1 + index)
}

/** Undefined when another listens there. */
async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch {
    return undefined
  }
}
