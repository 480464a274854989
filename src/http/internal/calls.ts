/**
 * Calls between actors over the wire: one table of methods per protocol, from which both ends derive. The compiler
 * checks that a table has every method of its protocol.
 */
import type { Logging, Messages } from '../../actors/protocol.ts'

/**
 * Calls a method of a remote actor, as `Peers` specifies.
 *
 * @param extraMs How much longer this call may take than others.
 */
export type Ask = (method: string, args: unknown[], extraMs?: number) => Promise<unknown>

/** The methods of a local actor that remote actors may call, by name. */
export type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** Method -> how much longer than others a call with these arguments may take, in milliseconds. */
type Calls<P> = {
  [M in keyof P]: P[M] extends (...args: infer A) => unknown ? (...args: A) => number : never
}

const inTime = () => 0
const LOGGING: Calls<Logging> = { append: inTime, page: inTime, get: inTime }
const MESSAGES: Calls<Messages> = {
  wake: inTime,
  page: inTime,
  find: (_lane, _id, waitMs) => waitMs,
  dead: inTime,
  replay: inTime,
  purge: inTime,
  redrive: inTime,
}

const RemoteLogging = remoteClassOf(LOGGING)
const RemoteMessages = remoteClassOf(MESSAGES)

/** A remote logging actor. */
export function remoteLogging(ask: Ask): Logging {
  return new RemoteLogging(ask)
}

/** A remote messages actor. */
export function remoteMessages(ask: Ask): Messages {
  return new RemoteMessages(ask)
}

/** The methods of a local logging actor. */
export function methodsOfLogging(actor: Logging): Methods {
  return methodsOf(LOGGING, actor)
}

/** The methods of a local messages actor. */
export function methodsOfMessages(actor: Messages): Methods {
  return methodsOf(MESSAGES, actor)
}

/** A class with the methods of the table, made once, so that a remote actor costs one object per use. */
function remoteClassOf<P>(calls: Calls<P>): new (ask: Ask) => P {
  class Remote {
    readonly ask: Ask

    constructor(ask: Ask) {
      this.ask = ask
    }
  }
  for (const [method, extraMs] of entriesOf(calls)) {
    Object.defineProperty(Remote.prototype, method, {
      value(this: Remote, ...args: unknown[]) {
        return this.ask(method, args, extraMs(...args))
      },
    })
  }
  return Remote as unknown as new (
    ask: Ask,
  ) => P
}

function methodsOf<P>(calls: Calls<P>, actor: P): Methods {
  const methods = actor as Methods
  return Object.fromEntries(
    entriesOf(calls).map(([method]) => [method, (...args: never[]) => methods[method]!(...args)]),
  )
}

function entriesOf<P>(calls: Calls<P>): [string, (...args: unknown[]) => number][] {
  return Object.entries(calls)
}
