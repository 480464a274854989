/** Handlers of tests in this process, where a real system starts a process for them. */
import type { Handler } from '../../src/actors/messages/handler.ts'
import { type FromHandler, HandlerHost } from '../../src/actors/messages/handler.ts'
import { HandlerRunner, type RunnerOptions, type Spawn } from '../../src/actors/messages/handler-runner.ts'
import { createLogger } from '../../src/runtime/logger.ts'

/** A stand-in for a handler's process. */
export interface ChildHere {
  /** It reacts to nothing any more. */
  block(): void
  /** It ends by itself. */
  die(how: string): void
  /** Code of the handler throws where nothing catches it. */
  stray(error: unknown): void
  isAlive(): boolean
}

/** Starts such processes, and keeps them. `onSpawn` may put another handler in the place of the given one. */
export function spawnHere(
  handlerOf: (child: ChildHere) => Handler | Error,
  children: ChildHere[] = [],
): Spawn {
  return ({ onMessage, onExit }) => {
    let isAlive = true
    let isBlocked = false
    // What was sent arrives, whatever becomes of the sender.
    const send = (message: FromHandler) => {
      if (isAlive && !isBlocked) queueMicrotask(() => onMessage(message))
    }
    const end = (how: string) => {
      if (!isAlive) return
      isAlive = false
      queueMicrotask(() => onExit(how))
    }
    const child: ChildHere = {
      block: () => {
        isBlocked = true
      },
      die: end,
      stray: (error) => host?.stray(error),
      isAlive: () => isAlive,
    }
    children.push(child)
    const handler = handlerOf(child)
    const host = handler instanceof Error ? undefined : new HandlerHost(handler, send)
    if (handler instanceof Error)
      send({ kind: 'broken', error: (handler as never as { toWire(): never }).toWire() })
    else send({ kind: 'ready' })
    return {
      send: (message) => queueMicrotask(() => isAlive && !isBlocked && host?.receive(message)),
      kill: () => end('killed'),
    }
  }
}

/** A runner of such processes that has loaded its handler. */
export async function startRunner(
  handler: Handler,
  options: Pick<RunnerOptions, 'clock'> & Partial<RunnerOptions>,
): Promise<HandlerRunner> {
  const runner = new HandlerRunner({
    ...{ spawn: spawnHere(() => handler), logger: createLogger('silent', {}), onChange: () => {} },
    ...{ timeoutMs: 30_000, concurrency: 1, ...options },
  })
  await runner.start()
  return runner
}
