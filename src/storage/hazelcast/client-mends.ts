/**
 * Mends faults of hazelcast-client 5.7.0. All are of connections that break soon after they were made, or while
 * something is written to them:
 *
 * - When a write has failed, its connection stays in use until a heartbeat is missed: calls to that member fail for 5 s.
 *   Here it is closed with its socket.
 * - A client that cannot register for the list of members tries again at once, at the same connection. The event loop has
 *   no turn to tell it that the connection has closed: the process hangs for ever. Here that turn comes first.
 * - A client that has lost all connections connects without a pause: a member that lets it in and then breaks the
 *   connection is asked 1,000 times a second. Here a pause lies between two tries.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { systemClock } from '../../runtime/clock.ts'
import { MEMBER_RETRY_MIN_MS } from '../../runtime/timings.ts'

/** The parts of the client that it does not declare. */
interface Connection {
  socket: Socket
  close(reason: string): void
  registerResponseCallback(callback: unknown): void
}

interface ViewListener {
  tryRegisterToRandomConnection(old: unknown): void
}

interface ConnectionManager {
  doConnectToCluster(): Promise<void>
}

const require = createRequire(import.meta.url)
const connection: Connection = require('hazelcast-client/lib/network/Connection').Connection.prototype
const viewListener: ViewListener = require('hazelcast-client/lib/listener/ClusterViewListenerService')
  .ClusterViewListenerService.prototype
const connectionManager: ConnectionManager = require('hazelcast-client/lib/network/ConnectionManager')
  .ConnectionManager.prototype

const { registerResponseCallback } = connection
connection.registerResponseCallback = function (callback) {
  this.socket.once('close', () => this.close('Its socket has closed.'))
  registerResponseCallback.call(this, callback)
}

const { tryRegisterToRandomConnection } = viewListener
viewListener.tryRegisterToRandomConnection = function (old) {
  systemClock.soon(() => tryRegisterToRandomConnection.call(this, old))
}

const lastTries = new WeakMap<ConnectionManager, number>()
const { doConnectToCluster } = connectionManager
connectionManager.doConnectToCluster = async function () {
  const now = systemClock.monotonic()
  const nextAt = (lastTries.get(this) ?? Number.NEGATIVE_INFINITY) + MEMBER_RETRY_MIN_MS
  if (now < nextAt) await systemClock.sleep(nextAt - now)
  lastTries.set(this, systemClock.monotonic())
  return doConnectToCluster.call(this)
}
