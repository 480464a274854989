/**
 * Calls between actors over the wire: one table of methods per protocol, from which both ends derive. The compiler
 * checks that a table has every method of its protocol.
 */
import type { Logging, Messages } from '../../actors/protocol.ts'

/** How a call goes to a remote actor. */
interface Way {
  /** Small and frequent: it goes over the open exchange with the actor. */
  isExchanged?: boolean
  /** How much longer than others it may take, in milliseconds: it waits for something. */
  extraMs?: number
}

/** Calls a method of a remote actor, as `Peers` specifies. */
export type Ask = (method: string, args: unknown[], way: Way) => Promise<unknown>

/** The methods of a local actor that remote actors may call, by name. */
export type Methods = Record<string, (...args: never[]) => Promise<unknown>>

/** Method -> how a call with these arguments goes. */
type Calls<P> = {
  [M in keyof P]: P[M] extends (...args: infer A) => unknown ? (...args: A) => Way : never
}

const inTime = () => ({})
const exchanged = () => ({ isExchanged: true })
const LOGGING: Calls<Logging> = {
  append: exchanged,
  page: inTime,
  get: inTime,
  search: inTime,
  follow: inTime,
  restore: inTime,
  keys: inTime,
  cluster: inTime,
  confirmLosses: inTime,
}
const MESSAGES: Calls<Messages> = {
  wake: exchanged,
  page: inTime,
  find: (_lane, _id, waitMs) => ({ isExchanged: true, extraMs: waitMs }),
  dead: inTime,
  replay: inTime,
  purge: inTime,
  pause: inTime,
  redeliver: (_lane, _id, timeoutMs) => ({ extraMs: timeoutMs }),
  recent: exchanged,
  deliveredSince: inTime,
  deadSince: inTime,
  sift: inTime,
  groupDead: inTime,
  replayMany: inTime,
  purgeMany: inTime,
  redrive: inTime,
  records: inTime,
  stored: inTime,
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
  for (const [method, way] of entriesOf(calls)) {
    Object.defineProperty(Remote.prototype, method, {
      value(this: Remote, ...args: unknown[]) {
        return this.ask(method, args, way(...args))
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

function entriesOf<P>(calls: Calls<P>): [string, (...args: unknown[]) => Way][] {
  return Object.entries(calls)
}
