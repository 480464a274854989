/** Ports to listen on, for what is started by its port. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that systems give to outgoing connections: one of these is not taken by chance before it is listened on. */
const LOWEST = 20_000
const COUNT = 10_000
const TRIES = 100

const given = new Set<number>()

/**
 * A port of 127.0.0.1 that nobody listens on; another one each time.
 *
 * @throws {Error} When none of a hundred is free.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = LOWEST + Math.floor(Math.random() * COUNT)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
  throw new Error(`No free port from ${LOWEST} to ${LOWEST + COUNT - 1}`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  await once(server.close(), 'close')
  return true
}
