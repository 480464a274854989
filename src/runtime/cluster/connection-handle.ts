/**
 * Connections that move from one worker to another. Node can send a `net.Socket` over IPC, but each process on the
 * way begins to read it, and the primary would swallow what has arrived. So the bare handle is sent, which nobody
 * reads.
 */
import { Socket } from 'node:net'

/** A connection that nobody reads. Unless it is passed on, it must be closed. */
export interface ConnectionHandle {
  readStart(): void
  readStop(): void
  close(): void
}

/** Stops reading a connection. `socket` must be destroyed when the handle has been sent. */
export function handleOf(socket: Socket): ConnectionHandle {
  const { _handle: handle } = socket as unknown as { _handle: ConnectionHandle }
  handle.readStop()
  return handle
}

/** The connection of a handle that was received. */
export function socketOf(handle: ConnectionHandle): Socket {
  return new Socket({ handle, allowHalfOpen: true } as object)
}
