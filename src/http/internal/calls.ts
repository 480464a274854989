/** Calls between actors as they go over the wire: the methods and their arguments, at both ends. */
import type { Logging, Messages } from '../../actors/protocol.ts'

/**
 * Asks an actor elsewhere, as `Peers` says.
 *
 * @param extraMs What this call may take longer than others.
 */
export type Ask = (method: string, args: unknown[], extraMs?: number) => Promise<unknown>

/** What an actor answers to: method name -> function of the arguments in the call. */
export type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** All methods of a protocol, so that a new one cannot be forgotten. */
type AllOf<P> = { [M in keyof P]: P[M] }

/** A logging actor elsewhere. */
export function loggingBy(ask: Ask): Logging {
  return {
    append: (batch) => ask('append', [batch]) as ReturnType<Logging['append']>,
    page: (range) => ask('page', [range]) as ReturnType<Logging['page']>,
    get: (id) => ask('get', [id]) as ReturnType<Logging['get']>,
  }
}

/** What `loggingBy` asks, answered by an actor here. */
export function methodsOfLogging(actor: Logging): Methods {
  const methods: AllOf<Logging> = {
    append: (batch) => actor.append(batch),
    page: (range) => actor.page(range),
    get: (id) => actor.get(id),
  }
  return methods
}

/** A messages actor elsewhere. */
export function messagesBy(ask: Ask): Messages {
  return {
    wake: (lanes) => ask('wake', [lanes]) as Promise<void>,
    page: (range) => ask('page', [range]) as ReturnType<Messages['page']>,
    find: (lane, id, waitMs) => ask('find', [lane, id, waitMs], waitMs) as ReturnType<Messages['find']>,
    dead: (range) => ask('dead', [range]) as ReturnType<Messages['dead']>,
    replay: (id) => ask('replay', [id]) as Promise<boolean>,
    purge: (id) => ask('purge', [id]) as Promise<boolean>,
    redrive: (lane, messages) => ask('redrive', [lane, messages]) as Promise<number>,
  }
}

/** What `messagesBy` asks, answered by an actor here. */
export function methodsOfMessages(actor: Messages): Methods {
  const methods: AllOf<Messages> = {
    wake: (lanes) => actor.wake(lanes),
    page: (range) => actor.page(range),
    find: (lane, id, waitMs) => actor.find(lane, id, waitMs),
    dead: (range) => actor.dead(range),
    replay: (id) => actor.replay(id),
    purge: (id) => actor.purge(id),
    redrive: (lane, messages) => actor.redrive(lane, messages),
  }
  return methods
}
