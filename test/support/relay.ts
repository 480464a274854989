/** TCP relays to a port of this machine. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/**
 * Starts a relay that holds back all bytes of each direction, and the end of each direction, for a fixed time.
 *
 * @returns Its port.
 */
export async function startRelay(
  context: Pick<TestContext, 'after'>,
  port: number,
  delayMs: number,
): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      const later = (act: () => void) => setTimeout(() => to.destroyed || act(), delayMs)
      from.on('data', (chunk) => later(() => to.write(chunk)))
      from.on('end', () => later(() => to.end()))
      from.on('error', () => later(() => to.resetAndDestroy()))
      from.on('close', () => sockets.delete(from))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

/** Starts a relay that resets each connection after the first bytes of the other side, until it is told to stop. */
export async function startCuttingRelay(
  context: Pick<TestContext, 'after'>,
  port: number,
): Promise<{ port: number; stopCutting: () => void }> {
  const sockets = new Set<Socket>()
  let isCutting = true
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true })
    client.pipe(upstream).pipe(client)
    if (isCutting) upstream.once('data', () => setImmediate(() => client.resetAndDestroy()))
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        other.destroy()
        sockets.delete(socket)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const stopCutting = () => {
    isCutting = false
  }
  return { port: (server.address() as AddressInfo).port, stopCutting }
}
