/** What a consumer needs of what handles messages: the user's handler (`handler-runner.ts`), or a forward. */
import type { Message } from '../../storage/ports.ts'
import type { Share } from './slots.ts'

/** How one run ended. */
export type Run =
  | { as: 'done' }
  | {
      as: 'failed'
      /** For people. */
      error: string
      /** It ended its process: run it alone the next time. */
      isSuspect: boolean
      /** It was ended by its timeout: nothing is known of its target. */
      isTimeout?: true
      /** Its process died or did not react: counted apart from failures. */
      isDeath?: true
      /** False: dead at once. Else not before that time. */
      retry?: false | { afterMs: number }
      /** The target was away, as far as this run can tell. */
      isOutage?: true
    }
  /** Not the message's failure. `isSuspect`: it may have ended its process, so run it alone the next time. */
  | { as: 'back'; isSuspect: boolean }

/** How a message is run. */
export interface RunOptions {
  /** 1 for the first start of this message. */
  attempt: number
  /** Nothing else may run in its process. */
  isAlone: boolean
  /** Aborted when a drain ends the attempt. The message is then given back, unless it succeeds. */
  abort: AbortSignal
  /** Called once when it begins: its handler is called, or its request sent. Its process may take long to be there. */
  onStart: () => void
}

/** Runs messages for all lanes of one messages actor. It has started. */
export interface Runner {
  /** Waits for a slot, as `Slots.acquire`. @returns Gives the slot back. Call it once. */
  acquire(share: Share): Promise<() => void>
  /** Resolves when something can run. */
  ready(): Promise<void>
  /** Runs a message once. Never rejects. */
  run(message: Message, options: RunOptions): Promise<Run>
  /** Why nothing runs, as sentences for people. */
  missing(): string[]
  /** Ends all that runs. Resolves when it has ended. */
  close(): Promise<void>
  /** What an outage is called for people: the URL without its query, or `the handler`. */
  readonly target: string
}
