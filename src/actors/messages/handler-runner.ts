/**
 * Runs the user's handler in processes of its own, so that nothing it does can stop the messages actor.
 *
 * One process, the shared one, runs all messages of the actor. It is replaced when it dies, when it was ended, and
 * after a stray error; the new one has loaded the handler before the old one is let go. A message that may have ended
 * a process runs alone, in a process that serves only this message.
 *
 * Whose fault is the end of a process?
 * - A call that was aborted and does not end: the fault of its message. All others of the process are given back.
 * - A process that died by itself, or does not react at all: the fault of its message when it served only one. Else
 *   nobody knows. All its messages are given back, uncounted, and run alone the next time.
 */
import type { Cancel, Clock } from '../../runtime/clock.ts'
import { fromWire, isMailroomError, type MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import {
  HANDLER_ABORT_GRACE_MS,
  HANDLER_LOAD_MS,
  HANDLER_RESTART_MAX_MS,
  RESTART_BASE_MS,
} from '../../runtime/timings.ts'
import type { Message } from '../../storage/ports.ts'
import { type Failure, type FromHandler, invalidHandler, type ToHandler } from './handler.ts'
import type { Run, Runner, RunOptions } from './runner.ts'
import { type Share, Slots } from './slots.ts'

/** A process that was started to run the handler. */
interface Child {
  send(message: ToHandler): void
  /** Ends it, with all processes that it has started. */
  kill(): void
}

/** Starts a process that loads the handler. `onExit` comes once, last; `how` it ended is a sentence. */
export type Spawn = (listener: { onMessage(message: FromHandler): void; onExit(how: string): void }) => Child

/** Options of `HandlerRunner`. */
export interface RunnerOptions {
  spawn: Spawn
  clock: Clock
  logger: Logger
  timeoutMs: number
  /** Calls at once, of all lanes together. */
  concurrency: number
  /** Called when `missing` has changed. */
  onChange: () => void
}

/** After so many stray errors the processes that are let go still finish their calls. Older ones are ended. */
const RETIRED_MAX = 4

/** Runs the handler of one messages actor. */
export class HandlerRunner implements Runner {
  readonly target = 'the handler'
  readonly #options: RunnerOptions
  readonly #slots: Slots
  #shared: HandlerProcess | undefined
  /** Processes that have not ended, oldest first. */
  readonly #all = new Set<HandlerProcess>()
  readonly #closed = new AbortController()
  #isReplacing = false
  /** Shared processes in a row that ended without having begun a call. */
  #failures = 0
  #problem: string | undefined
  #loaded = Promise.withResolvers<void>()

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#slots = new Slots(options.concurrency)
  }

  /** Loads the handler in the first shared process. @throws {MailroomError} `MR_CONFIG_INVALID`: it does not load. */
  async start(): Promise<void> {
    this.#share(await this.#load())
  }

  /** Why no handler runs, as sentences for people. */
  missing(): string[] {
    return this.#problem === undefined ? [] : [this.#problem]
  }

  /** Waits for a slot, as `Slots.acquire`. */
  acquire(share: Share): Promise<() => void> {
    return this.#slots.acquire(share)
  }

  /** Resolves when a process has loaded the handler. */
  async ready(): Promise<void> {
    while (this.#shared === undefined) await this.#loaded.promise
  }

  /** Calls the handler once, up to its timeout. Never rejects. */
  async run(message: Message, options: RunOptions): Promise<Run> {
    if (options.isAlone) return this.#runAlone(message, options)
    return this.#shared?.run(message, options) ?? { as: 'back', isSuspect: false }
  }

  /** Ends all processes. Resolves when they have ended. */
  async close(): Promise<void> {
    this.#closed.abort()
    for (const process of this.#all) process.kill()
    await Promise.all([...this.#all].map(({ exited }) => exited))
  }

  async #runAlone(message: Message, options: RunOptions): Promise<Run> {
    const { abort } = options
    const process = this.#start()
    const kill = () => process.kill()
    abort.addEventListener('abort', kill, { once: true })
    if (abort.aborted) kill()
    try {
      await process.loaded
      abort.removeEventListener('abort', kill)
      return await process.run(message, options)
    } catch (error) {
      if (!abort.aborted) this.#warn(error)
      await this.#options.clock.sleep(HANDLER_RESTART_MAX_MS, abort)
      return { as: 'back', isSuspect: true }
    } finally {
      abort.removeEventListener('abort', kill)
      kill()
      await process.exited
    }
  }

  #start(): HandlerProcess {
    const process = new HandlerProcess(this.#options, {
      onStray: () => void this.#replace(process),
      onEnd: () => void this.#replace(process),
    })
    this.#all.add(process)
    void process.exited.then(() => this.#all.delete(process))
    return process
  }

  async #load(): Promise<HandlerProcess> {
    const process = this.#start()
    await process.loaded
    return process
  }

  #share(process: HandlerProcess): void {
    const old = this.#shared
    this.#shared = process
    this.#setProblem(undefined)
    this.#loaded.resolve()
    old?.retire()
    const retired = [...this.#all].filter(({ isRetired }) => isRetired)
    for (const oldest of retired.slice(0, -RETIRED_MAX)) oldest.kill()
  }

  /** Replaces the shared process. It keeps running until another one has loaded the handler, if it can. */
  async #replace(old: HandlerProcess): Promise<void> {
    if (old !== this.#shared || this.#closed.signal.aborted) return
    this.#failures = old.hasCalled ? 0 : this.#failures + 1
    if (old.hasEnded) {
      this.#shared = undefined
      this.#loaded = Promise.withResolvers()
    }
    if (this.#isReplacing) return
    this.#isReplacing = true
    const { clock } = this.#options
    while (!this.#closed.signal.aborted) {
      if (this.#failures > 1) {
        const delayMs = Math.min(HANDLER_RESTART_MAX_MS, RESTART_BASE_MS * 2 ** (this.#failures - 2))
        await clock.sleep(delayMs, this.#closed.signal)
        if (this.#closed.signal.aborted) break
      }
      try {
        this.#share(await this.#load())
        break
      } catch (error) {
        this.#failures++
        if (!this.#closed.signal.aborted) this.#setProblem(this.#warn(error))
      }
    }
    this.#isReplacing = false
  }

  #warn(error: unknown): string {
    const problem = isMailroomError(error, 'MR_CONFIG_INVALID')
      ? error.details.problems.join('; ')
      : String(error)
    this.#options.logger.warn({ problem }, 'the handler does not load; it is tried again')
    return problem
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#options.onChange()
  }
}

/** A call in a process. */
interface Call {
  run: number
  id: string
  /** False until the process says that it calls the handler. */
  hasStarted: boolean
  /** Why its signal was aborted. */
  abortedFor: 'timeout' | 'drain' | undefined
  /** The process reported that it aborted the signal. */
  isAcknowledged: boolean
  onStart: () => void
  cancelTimer: Cancel
  end: (run: Run) => void
}

/** One process that runs the handler, and its calls. */
class HandlerProcess {
  /** Resolves when it has loaded the handler. Rejects with why it has not. */
  readonly loaded: Promise<void>
  readonly exited: Promise<void>
  isRetired = false
  /** True when it was ended or has died: it takes no calls. */
  hasEnded = false
  /** True when it has called the handler. */
  hasCalled = false
  readonly #options: RunnerOptions
  readonly #listener: { onStray(): void; onEnd(): void }
  readonly #child: Child
  readonly #load = Promise.withResolvers<void>()
  readonly #exit = Promise.withResolvers<void>()
  readonly #calls = new Map<number, Call>()
  #callCount = 0

  constructor(options: RunnerOptions, listener: { onStray(): void; onEnd(): void }) {
    this.#options = options
    this.#listener = listener
    this.exited = this.#exit.promise
    this.loaded = this.#load.promise
    const cancel = options.clock.after(HANDLER_LOAD_MS, () =>
      this.#refuse(invalidHandler(`a module that loads within ${inSeconds(HANDLER_LOAD_MS)}`)),
    )
    this.loaded.then(cancel, cancel)
    this.#child = options.spawn({
      onMessage: (message) => this.#receive(message),
      onExit: (how) => this.#died(how),
    })
  }

  /** Calls the handler. Resolves when the call has ended, or when this process has. */
  run(message: Message, { attempt, abort, onStart }: RunOptions): Promise<Run> {
    if (this.hasEnded) return Promise.resolve({ as: 'back', isSuspect: false })
    const run = ++this.#callCount
    return new Promise<Run>((resolve) => {
      const onAbort = () => this.#abort(call, 'drain')
      const call: Call = {
        ...{ run, id: message.id, hasStarted: false, abortedFor: undefined, isAcknowledged: false, onStart },
        cancelTimer: this.#afterTimeout(() => this.#delayed(call)),
        end: (ended) => {
          this.#calls.delete(run)
          call.cancelTimer()
          abort.removeEventListener('abort', onAbort)
          resolve(ended)
        },
      }
      this.#calls.set(run, call)
      this.#child.send({ kind: 'run', run, message, attempt })
      abort.addEventListener('abort', onAbort, { once: true })
      if (abort.aborted) onAbort()
    })
  }

  /** Takes no more calls. The process is ended when the last one has. */
  retire(): void {
    this.isRetired = true
    if (this.#calls.size === 0) this.kill()
  }

  /** Ends the process. Its calls are given back. */
  kill(): void {
    this.#end({ as: 'back', isSuspect: false })
  }

  #receive(message: FromHandler): void {
    if (this.hasEnded) return
    switch (message.kind) {
      case 'ready':
        this.#load.resolve()
        break
      case 'broken':
        this.#refuse(fromWire(message.error))
        break
      case 'stray':
        this.#options.logger.error(
          { id: message.id, stack: message.stack },
          'the handler left an error that nothing caught',
        )
        this.#listener.onStray()
        break
      default: {
        const call = this.#calls.get(message.run)
        if (call !== undefined) this.#advance(call, message)
      }
    }
  }

  #advance(call: Call, message: Extract<FromHandler, { run: number }>): void {
    if (message.kind === 'ended') this.#finished(call, message.failure)
    else if (message.kind === 'aborted') {
      call.isAcknowledged = true
      this.#giveGrace(call)
    } else this.#started(call)
  }

  #started(call: Call): void {
    call.hasStarted = this.hasCalled = true
    call.onStart()
    if (call.abortedFor !== undefined) return
    call.cancelTimer()
    call.cancelTimer = this.#afterTimeout(() => this.#abort(call, 'timeout'))
  }

  /** The handler was not even called within its timeout. */
  #delayed(call: Call): void {
    if (this.#isBusy()) call.cancelTimer = this.#afterTimeout(() => this.#delayed(call))
    else this.#blocked() // By an earlier call, which has ended.
  }

  #abort(call: Call, reason: 'timeout' | 'drain'): void {
    if (call.abortedFor === undefined) {
      const { run } = call
      this.#child.send(
        reason === 'timeout'
          ? { kind: 'abort', run, name: 'TimeoutError', why: this.#timeoutText() }
          : { kind: 'abort', run, name: 'AbortError', why: 'The worker is draining' },
      )
      this.#giveGrace(call)
    }
    call.abortedFor = reason
  }

  #giveGrace(call: Call): void {
    call.cancelTimer()
    call.cancelTimer = this.#options.clock.after(HANDLER_ABORT_GRACE_MS, () => this.#hung(call))
  }

  #finished(call: Call, failure: Failure | null): void {
    if (failure === null) call.end({ as: 'done' })
    else if (call.abortedFor === 'drain') call.end({ as: 'back', isSuspect: false })
    else {
      const timedOut = call.abortedFor && ({ error: this.#timeoutText(), isTimeout: true } as const)
      call.end({ as: 'failed', ...failure, ...timedOut, isSuspect: false })
    }
    if (this.isRetired && this.#calls.size === 0) this.kill()
  }

  /** A call did not end though its signal was aborted. */
  #hung(call: Call): void {
    const { logger } = this.#options
    if (!call.isAcknowledged) {
      // Another call may block the process, within its own timeout.
      if (!this.#isBusy()) this.#blocked()
      return
    }
    logger.warn({ id: call.id }, 'the handler ignored its signal; its process is ended')
    const error = `${this.#timeoutText()}, and it ignored its signal`
    if (call.abortedFor === 'timeout') call.end({ as: 'failed', error, isSuspect: true })
    else call.end({ as: 'back', isSuspect: true })
    this.kill()
  }

  /** The process does not react. */
  #blocked(): void {
    const { logger, timeoutMs } = this.#options
    const error = `The handler blocked its process for ${inSeconds(timeoutMs)}`
    logger.warn({ ids: this.#startedIds() }, `${error}; it is ended`)
    this.#blame(error)
  }

  #died(how: string): void {
    if (!this.hasEnded) {
      this.#options.logger.warn({ ids: this.#startedIds() }, how)
      this.#load.reject(invalidHandler(`a module that loads: ${how}`))
      this.#blame(how)
    }
    this.#exit.resolve()
  }

  /** Ends the process for a fault of one of its calls, perhaps an earlier one. */
  #blame(error: string): void {
    const [call] = this.#calls.values()
    const isDrained = call?.abortedFor === 'drain'
    if (this.#callCount > 1 || isDrained) this.#end({ as: 'back', isSuspect: true })
    else this.#end({ as: 'failed', error, isSuspect: true, isDeath: true })
  }

  #refuse(error: MailroomError): void {
    this.#load.reject(error)
    this.kill()
  }

  /** @param started The end of its calls. Those that were not started are given back. */
  #end(started: Run): void {
    if (this.hasEnded) return
    this.hasEnded = true
    for (const call of this.#calls.values())
      call.end(call.hasStarted ? started : { as: 'back', isSuspect: false })
    this.#load.reject(invalidHandler('a module that loads: its process was ended'))
    this.#child.kill()
    this.#listener.onEnd()
  }

  /** True while a call is within its timeout. */
  #isBusy(): boolean {
    return [...this.#calls.values()].some(
      ({ hasStarted, abortedFor }) => hasStarted && abortedFor === undefined,
    )
  }

  #afterTimeout(work: () => void): Cancel {
    return this.#options.clock.after(this.#options.timeoutMs, work)
  }

  #startedIds(): string[] {
    return [...this.#calls.values()].filter(({ hasStarted }) => hasStarted).map(({ id }) => id)
  }

  #timeoutText(): string {
    return `Handler timeout of ${this.#options.timeoutMs} ms`
  }
}

function inSeconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`
}
