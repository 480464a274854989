/**
 * A lock on a directory that no file carries, so that it outlives the removal of all files: abstract Unix sockets
 * (Linux), named after the directory's path and after its inode. They end with their process. Processes in another
 * network namespace (a container) do not see them; `primary.lock` excludes those.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Clock } from '../../runtime/clock.ts'
import { ORPHAN_WAIT_MS } from '../../runtime/timings.ts'
import { identityOf } from './guard.ts'

/** A held lock. */
export interface SocketLock {
  release(): void
}

/**
 * Takes the lock of a directory.
 *
 * @param holder Says who holds it, to others that try.
 * @returns The lock, or what its holder says.
 */
export async function lockDirectory(
  path: string,
  clock: Clock,
  holder: () => string,
): Promise<SocketLock | string> {
  if (process.platform !== 'linux') return { release() {} }
  const servers: Server[] = []
  const release = () => {
    for (const server of servers) server.close()
  }
  for (const key of [realpathSync(path), identityOf(path)]) {
    const name = `\0mailroom-${createHash('sha256').update(String(key)).digest('hex')}`
    const server = createServer((socket) => socket.on('error', () => {}).end(holder()))
    try {
      server.listen(name)
      await once(server, 'listening')
      servers.push(server.unref())
    } catch (error) {
      release()
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      return ask(name, clock)
    }
  }
  return { release }
}

/** What the holder of a name says; empty when it does not answer. */
async function ask(name: string, clock: Clock): Promise<string> {
  const socket = connect(name)
  const cancel = clock.after(ORPHAN_WAIT_MS, () => socket.destroy(new Error('no answer')))
  const said = await text(socket).catch(() => '')
  cancel()
  return said
}
