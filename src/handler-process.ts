/**
 * What a handler's process runs: it loads the handler, and calls it when the messages actor says so. Arguments: the
 * module's path, and the pid of the actor's process.
 */
import { isMainThread, Worker } from 'node:worker_threads'
import {
  type FromHandler,
  HandlerHost,
  loadHandler,
  strayOf,
  type ToHandler,
} from './actors/messages/handler.ts'
import { systemClock } from './runtime/clock.ts'
import { toWire } from './runtime/errors.ts'
import { onStray } from './runtime/lifecycle.ts'
import { HANDLER_WATCH_MS } from './runtime/timings.ts'

const [path, actorPid] = process.argv.slice(2) as [string, string]

if (isMainThread) await run()
else watch()

async function run(): Promise<void> {
  const channel = process.send!.bind(process)
  const send = (message: FromHandler) => void channel(message, undefined, undefined, () => {})
  // The channel is ours. A library may take it for one to a process manager.
  Object.assign(process, { send: undefined, disconnect: undefined })
  process.on('disconnect', endGroup)
  // A thread of its own, as a handler may block this one.
  new Worker(import.meta.filename, { argv: [path, actorPid] }).unref()
  let host: HandlerHost | undefined
  process.on('message', (message: ToHandler) => host?.receive(message))
  onStray((error) => (host === undefined ? send(strayOf(error)) : host.stray(error)))
  try {
    host = new HandlerHost(await loadHandler(path), send)
  } catch (error) {
    return send({ kind: 'broken', error: toWire(error) })
  }
  send({ kind: 'ready' })
}

/** Ends this process group when the process of the messages actor has ended. */
function watch(): void {
  if (process.ppid !== Number(actorPid)) endGroup()
  systemClock.after(HANDLER_WATCH_MS, watch)
}

function endGroup(): void {
  process.kill(-process.pid, 'SIGKILL')
}
