/**
 * Standard output and standard error of a node. A write never blocks and never throws, whatever the destination does:
 * a full disk, a reader that has closed, a reader or a terminal that stands still. Lines that cannot be written now are
 * buffered and tried again; when the buffer is full, the oldest are dropped and counted. Only this file writes to the two in the
 * primary and its workers. (A client command may block: it has nothing else to do.)
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { isatty } from 'node:tty'
import { systemClock } from './clock.ts'
import { OUTPUT_FLUSH_MS, OUTPUT_FLUSH_PAUSE_MS, OUTPUT_RETRY_MS, OUTPUT_STALL_MS } from './timings.ts'

/** Bytes of lines that wait for their destination. */
const BUFFER_BYTES = 256 * 1024
/** A line of a worker that is longer than this is cut into several. */
const LINE_MAX_CHARACTERS = 64 * 1024
const { O_WRONLY, O_APPEND, O_NONBLOCK, O_NOCTTY } = constants

const outputs = new Map<number, Output>()

/** Standard output (1) or standard error (2) of this process. */
export function outputOf(fd: 1 | 2): Output {
  const output = outputs.get(fd) ?? new Output(fd)
  outputs.set(fd, output)
  return output
}

/** Lines of this process that were dropped so far. */
export function droppedLineCount(): number {
  let count = 0
  for (const output of outputs.values()) count += output.droppedCount
  return count
}

class Output {
  /** Lines are for people. False where a program reads them. */
  isTerminal: boolean
  /** Called when lines can be written again after `count` were dropped. */
  onDropped: (count: number) => void = () => {}
  /** Lines that were dropped so far. */
  droppedCount = 0
  readonly #fd: number
  readonly #lines: Buffer[] = []
  #bufferedBytes = 0
  #untoldCount = 0
  #isRetrying = false

  constructor(fd: number) {
    this.isTerminal = isatty(fd)
    this.#fd = nonBlocking(fd)
    process.on('exit', () => this.#flush())
  }

  /** Writes lines, each with its line break. They are written or dropped together. */
  write(lines: string): void {
    const bytes = Buffer.from(lines)
    this.#lines.push(bytes)
    this.#bufferedBytes += bytes.length
    // The last lines say why a process ends. The first may be half written.
    while (this.#bufferedBytes > BUFFER_BYTES && this.#lines.length > 2) {
      const [dropped] = this.#lines.splice(1, 1)
      this.#bufferedBytes -= dropped!.length
      this.droppedCount++
      this.#untoldCount++
    }
    if (!this.#isRetrying) this.#writeOrRetry()
  }

  /** Writes every line of `source`. `format` gets a line without its break and returns it with one. */
  forward(source: Readable, format: (line: string) => string): void {
    let rest = ''
    source.setEncoding('utf8')
    source.on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.write(format(line))
      if (rest.length < LINE_MAX_CHARACTERS) return
      this.write(`${rest}\n`)
      rest = ''
    })
    source.on('end', () => rest !== '' && this.write(`${rest}\n`))
    source.on('error', () => {})
  }

  #writeOrRetry(): void {
    this.#isRetrying = this.#tryWrite() !== 'all'
    if (this.#isRetrying) systemClock.after(OUTPUT_RETRY_MS, () => this.#writeOrRetry(), { unref: true })
    else this.#reportDropped()
  }

  /** @returns `blocked`: the destination takes nothing for the moment; `broken`: it has failed. */
  #tryWrite(): 'all' | 'blocked' | 'broken' {
    try {
      for (let [line] = this.#lines; line !== undefined; [line] = this.#lines) {
        const count = writeSync(this.#fd, line)
        this.#bufferedBytes -= count
        if (count < line.length) this.#lines[0] = line.subarray(count)
        else this.#lines.shift()
      }
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? 'blocked' : 'broken'
    }
    return 'all'
  }

  #reportDropped(): void {
    const count = this.#untoldCount
    this.#untoldCount = 0
    if (count > 0) this.onDropped(count)
  }

  /** Before the process ends: waits for a slow reader, but not for one that stands still. */
  #flush(): void {
    const endAt = systemClock.monotonic() + OUTPUT_FLUSH_MS
    let stalledAt = systemClock.monotonic() + OUTPUT_STALL_MS
    for (;;) {
      const before = this.#bufferedBytes
      const result = this.#tryWrite()
      if (result === 'all' && this.#untoldCount === 0) return
      if (result === 'all') this.#reportDropped()
      if (result === 'broken') return
      const now = systemClock.monotonic()
      if (this.#bufferedBytes < before) stalledAt = now + OUTPUT_STALL_MS
      if (now >= Math.min(stalledAt, endAt)) return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, OUTPUT_FLUSH_PAUSE_MS)
    }
  }
}

/**
 * A file descriptor of the same pipe or terminal whose writes do not block. Opening it anew leaves the one that other
 * processes share as it is. A file does not block, and is written as it is: who shares it goes on behind our lines. A
 * socket cannot be opened: libuv makes it non-blocking, as it does for `console.log`.
 */
function nonBlocking(fd: number): number {
  const stream = fd === 1 ? () => process.stdout : () => process.stderr
  try {
    if (fstatSync(fd).isFile()) return fd
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY)
  } catch {
    stream()
    return fd
  } finally {
    // Node itself and `console` write here. An error must not end the process.
    stream().on('error', () => {})
  }
}
