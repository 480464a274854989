/**
 * Processes of a bench. Our own scripts answer questions over IPC; other programs are waited for on their port. All
 * are ended by pid: when the bench ends them, and at the latest when the bench itself ends.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const WAIT_MS = 120_000
const END_MS = 15_000

const running = new Set<ChildProcess>()
const directories = new Set<string>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const directory of directories) removeDirectory(directory)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

/** A new directory for data. It is removed with `removeDirectory`, and at the latest when the bench ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
  directories.add(directory)
  return directory
}

/** Tries for 5 s: processes that were killed a moment ago may still write. */
export function removeDirectory(directory: string): void {
  directories.delete(directory)
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

/** A process that the bench has started. */
export class Child {
  readonly #process: ChildProcess
  readonly #name: string

  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.#process = child
    running.add(child)
    child.once('exit', () => running.delete(child))
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** @throws {Error} When the process has ended. */
  mustRun(): void {
    const { exitCode, signalCode } = this.#process
    if (exitCode !== null || signalCode !== null) {
      throw new Error(`${this.#name} ended with ${exitCode ?? signalCode}`)
    }
  }

  /** Asks a script that called `answerQuestions`. @throws {Error} What the script threw. */
  async ask<T>(question: unknown): Promise<T> {
    this.mustRun()
    this.#process.send(question as object)
    const { answer, error } = await this.said<{ answer: T; error?: string }>()
    if (error !== undefined) throw new Error(`${this.#name}: ${error}`)
    return answer
  }

  /** The next thing it says over IPC. */
  async said<T>(): Promise<T> {
    const ended = new AbortController()
    const exit = () => ended.abort(new Error(`${this.#name} ended`))
    this.#process.once('exit', exit)
    try {
      const [answer] = await once(this.#process, 'message', { signal: ended.signal })
      return answer
    } finally {
      this.#process.off('exit', exit)
    }
  }

  /** Ends it with SIGTERM, after 15 s with SIGKILL, and waits until it is gone. */
  async end(): Promise<void> {
    const child = this.#process
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS)
    await exited
    clearTimeout(timer)
  }
}

/** Runs one of our scripts until it says that it is ready. @returns It, and what it said: its port, if it has one. */
export async function startScript(
  script: URL,
  args: readonly string[] = [],
): Promise<{ child: Child; port: number }> {
  const name = [basename(script.pathname), ...args].join(' ')
  const child = new Child(name, fork(script, args))
  const { port } = await child.said<{ port: number }>()
  return { child, port }
}

/** In such a script: says that it is ready, answers one question after another, and ends with the bench. */
export function answerQuestions<Q>(port: number, answer: (question: Q) => unknown): void {
  process.on('message', async (question) => {
    try {
      process.send!({ answer: await answer(question as Q) })
    } catch (error) {
      process.send!({ error: (error as Error).message })
    }
  })
  process.on('disconnect', () => process.exit())
  process.send!({ port })
}

/** Runs a program; what it writes is dropped, unless `stderr` is to be inherited. */
export function startProgram(
  command: string,
  args: readonly string[],
  { env = {}, stderr = 'ignore' }: { env?: Record<string, string>; stderr?: 'ignore' | 'inherit' } = {},
): Child {
  const stdio = ['ignore' as const, 'ignore' as const, stderr]
  return new Child(command, spawn(command, args, { stdio, env: { ...process.env, ...env } }))
}

/**
 * Waits until `holds` is true while `child` runs. Asks every `pauseMs`.
 *
 * @throws {Error} When `child` ends, or after 120 s.
 */
export async function until(
  child: Child,
  what: string,
  holds: () => Promise<boolean>,
  pauseMs = 20,
): Promise<void> {
  const endAt = performance.now() + WAIT_MS
  while (!(await holds())) {
    child.mustRun()
    if (performance.now() > endAt) throw new Error(`Waited ${WAIT_MS / 1000} s for ${what}`)
    await sleep(pauseMs)
  }
}

/** True when something accepts connections on this port of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const end = (listens: boolean) => {
      socket.destroy()
      resolve(listens)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}
