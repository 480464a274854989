/** The handler of simulated messages actors: does what a message's text says, in a simulated process of its own. */
import { type FromHandler, type Handler, HandlerHost } from '../../src/actors/messages/handler.ts'
import { HandlerRunner, type Spawn } from '../../src/actors/messages/handler-runner.ts'
import type { Run, Runner } from '../../src/actors/messages/runner.ts'
import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { SimProcess } from './process.ts'

/** What a text can ask its handler to do; anything else is handled in some ms. */
export const POISONS = [
  'throws',
  'throws twice',
  'throws until mended',
  'throws astray',
  'hangs',
  'ignores its signal',
  'blocks',
  'kills',
] as const

/** One way between the two processes takes so long. */
const WAY_MS = 0.2

/** What all handlers of a world share. */
export interface Handling {
  /** Somebody found out why messages die, and put it right. */
  mended: boolean
  /** Since when (virtual time) what every handler needs is away. */
  awaySince: number | undefined
  /** From when on (virtual time) no call may begin, as delivery is paused; undefined while it is not. */
  pausedFrom: number | undefined
  /** Settled when the last pause that was begun is over. */
  pausing: Promise<void>
  /** Calls that failed for that. */
  knocks: number
  /** A start was left open, and taken up by another holder: it counts. */
  adopted: boolean
  /** Texts whose call had begun when the outage did. If a later one had succeeded by then, they have failed on their own. */
  caught: Set<string>
  onBug: (what: string) => void
}

/** How a planted bug makes what a handler's run comes to go wrong. */
export interface RunBugs {
  /** An outage is an error like any other. */
  countsOutages?: boolean
  /** Once there was an outage, no success is one any more. */
  neverBack?: boolean
}

/** Starts the handler of a messages actor that runs in `process`. */
export function startHandler(handling: Handling, bugs: RunBugs) {
  return async (world: ActorContext<NodeConfig>, process: SimProcess): Promise<Runner> => {
    const { handlerTimeoutMs: timeoutMs, handlerConcurrency: concurrency } = world.config
    const { clock, logger } = world
    const onChange = () => world.changed()
    const spawn = spawnIn(process, handling)
    const runner = new HandlerRunner({ spawn, clock, logger, timeoutMs, concurrency, onChange })
    await runner.start()
    const run = runner.run.bind(runner)
    runner.run = async (message, options) => told(await run(message, options), handling, bugs)
    return runner
  }
}

function told(run: Run, { knocks }: Handling, { countsOutages, neverBack }: RunBugs): Run {
  if (countsOutages && run.as === 'failed')
    return { as: 'failed', error: run.error, isSuspect: run.isSuspect }
  if (neverBack && run.as === 'done' && knocks > 0)
    return { as: 'failed', error: 'away', isSuspect: false, isOutage: true }
  return run
}

/** A child of the process: it dies and stands still with it, and it can die or stand still alone. */
function spawnIn(process: SimProcess, handling: Handling): Spawn {
  return ({ onMessage, onExit }) => {
    let isAlive = true
    let isBlocked = false
    const after = (ms: number, work: () => void) =>
      process.clock.after(ms, () => {
        if (isAlive && !isBlocked) work()
      })
    // What was sent arrives, whatever becomes of the sender.
    const send = (message: FromHandler) => {
      if (isAlive && !isBlocked) process.clock.after(WAY_MS, () => onMessage(message))
    }
    const end = (how: string) => {
      if (!isAlive) return
      isAlive = false
      process.clock.after(WAY_MS, () => onExit(how))
    }
    const host: HandlerHost = new HandlerHost(
      handlerOf(process, handling, {
        die: () => end('killed by its handler'),
        block: () => {
          isBlocked = true
        },
        later: (ms, work) => void after(ms, work),
        stray: (error) => host.stray(error),
      }),
      send,
    )
    after(process.rng.between(20, 100), () => send({ kind: 'ready' }))
    return { send: (message) => void after(WAY_MS, () => host.receive(message)), kill: () => end('killed') }
  }
}

interface Child {
  die(): void
  block(): void
  later(ms: number, work: () => void): void
  stray(error: Error): void
}

function handlerOf(process: SimProcess, handling: Handling, child: Child): Handler {
  const sleep = (ms: number) => new Promise<void>((resolve) => child.later(ms, resolve))
  return async ({ text = '' }, { signal, attempt }) => {
    const poison = POISONS.findLast((each) => text.startsWith(each))
    const { scheduler } = process
    const beganAt = scheduler.now
    if (handling.pausedFrom !== undefined && beganAt > handling.pausedFrom) {
      handling.onBug(`started while delivery is paused: ${text}`)
    }
    if (poison === undefined && attempt > 1 && !handling.adopted && !handling.caught.has(text)) {
      handling.onBug(`an attempt was used up: ${text}, attempt ${attempt}`)
    }
    await sleep(process.rng.between(0.5, 5))
    if (handling.awaySince !== undefined) {
      handling.knocks++
      if (beganAt < handling.awaySince + WAY_MS) handling.caught.add(text)
      throw Object.assign(new Error('away'), { outage: true })
    }
    switch (poison) {
      case undefined:
        return
      case 'throws twice':
        if (attempt > 2) return
        throw new Error('not yet')
      case 'throws until mended':
        if (handling.mended) return
        throw new Error('not mended')
      case 'throws astray':
        child.later(process.rng.between(0, 20), () => child.stray(new Error('astray')))
        return
      case 'throws':
        throw new Error('never')
      case 'hangs':
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        throw signal.reason
      case 'ignores its signal':
        await new Promise<never>(() => {})
        return
      case 'blocks':
        process.scheduler.note(`${process.name} has a handler that blocks`)
        child.block()
        await new Promise<never>(() => {})
        return
      case 'kills':
        process.scheduler.note(`${process.name} has a handler that kills its process`)
        child.die()
        await new Promise<never>(() => {})
    }
  }
}
