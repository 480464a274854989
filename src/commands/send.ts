/**
 * `mailroom send`: posts texts in batches, several at a time. Each batch carries an idempotency key, so that a
 * retry never stores it twice.
 */
import { randomBytes } from 'node:crypto'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import type { ClientConfig } from '../settings/config.ts'
import { batchesOf, type Input, type InputText } from './send-input.ts'
import { counted, type ProgressBar, print, progressBar, report } from './terminal.ts'

const IN_FLIGHT_COUNT = 4
/** In JSON a character may take six bytes: a text of more is sent as it is. */
const LARGE_CHARACTERS = 100_000

interface Receipt {
  id: string
  at: string
}

/** What is printed of each message, in the order of the input. */
export type Receipts = 'none' | 'ids' | 'json'

/** For a text on the command line the id is printed, as there is only one. */
export function receiptsOf(input: Input, { json, ids }: Pick<ClientConfig, 'json' | 'ids'>): Receipts {
  if (json) return 'json'
  return ids || 'text' in input ? 'ids' : 'none'
}

/**
 * Sends everything of an input, or up to the first line that cannot be sent.
 *
 * @throws {MailroomError} `MR_MESSAGE_INVALID`, `MR_TOO_LARGE` for a text that cannot be sent, with its line;
 * all texts before it have been sent. @throws {ApiError} For a refused batch, with its lines.
 * @throws {Unreachable}
 */
export async function send(client: ApiClient, input: Input, receipts: Receipts): Promise<void> {
  const progress = new SendProgress(input, { isAlone: receipts === 'none' || !process.stdout.isTTY })
  const forget = onInterrupt(() => progress.end('interrupted'))
  const sending: Promise<void>[] = []
  let printed: Promise<void> = Promise.resolve()
  let failure: unknown
  try {
    for await (const batch of batchesOf(input)) {
      const posted = post(client, batch)
      sending.push(
        posted.then(
          () => progress.sent(batch.length, batch.at(-1)!.readBytes),
          (error: unknown) => {
            failure ??= error
          },
        ),
      )
      // Batches acknowledged after a failed one are stored, so their receipts are printed, too.
      printed = printed
        .then(() => posted)
        .then(
          (answers) => printReceipts(batch, answers, receipts),
          () => {},
        )
      if (sending.length >= IN_FLIGHT_COUNT) await sending.shift()
      if (failure !== undefined) break
    }
  } catch (error) {
    failure ??= error
  }
  await Promise.all(sending)
  await printed
  forget()
  progress.end(failure === undefined ? 'done' : 'failed')
  if (failure !== undefined) throw failure
}

/** Posts a batch until it is answered; a large text as it is, so that JSON makes it no larger. */
async function post(client: ApiClient, batch: readonly InputText[]): Promise<Receipt[]> {
  const headers = { 'idempotency-key': randomBytes(16).toString('hex') }
  const options = { headers, startsLater: true }
  try {
    if (batch.length === 1 && batch[0]!.text.length > LARGE_CHARACTERS) {
      return [await client.insist<Receipt>('POST', '/messages', { ...options, text: batch[0]!.text })]
    }
    const body = batch.map(({ text }) => ({ text }))
    return await client.insist('POST', '/messages', { ...options, body })
  } catch (error) {
    if (error instanceof ApiError || error instanceof Unreachable) {
      error.message = inLines(error.message, batch)
    }
    throw error
  }
}

/** Replaces an index of the batch in the API's message by its line; without one, names all lines of the batch. */
function inLines(message: string, batch: readonly InputText[]): string {
  const isAlone = batch.length === 1
  const named = message.replace(/\[(\d+)\](\.text)?|^The text\b|\bthe body\b/, (where, index = 0) => {
    const line = where.startsWith('[') || isAlone ? batch[Number(index)] : undefined
    return line === undefined ? where : `line ${line.number}`
  })
  if (named !== message || isAlone) return named
  return `Lines ${batch[0]!.number} to ${batch.at(-1)!.number}: ${message}`
}

function printReceipts(batch: readonly InputText[], answers: readonly Receipt[], receipts: Receipts): void {
  if (receipts === 'none') return
  for (const [index, { id, at }] of answers.entries()) {
    print(receipts === 'ids' ? id : JSON.stringify({ line: batch[index]!.number, id, at }))
  }
}

/** How the sending ended. */
type Ending = 'done' | 'failed' | 'interrupted'

/**
 * Reports to standard error what was acknowledged: a bar on a terminal, and one line at the end everywhere. It
 * reports nothing for a single text.
 */
class SendProgress {
  readonly #beganAt = clock.monotonic()
  readonly #bar: ProgressBar | undefined
  readonly #isSilent: boolean
  #count = 0

  /** @param isAlone True when nothing else is written to the terminal meanwhile. */
  constructor(input: Input, { isAlone }: { isAlone: boolean }) {
    this.#isSilent = 'text' in input
    const isTyped = 'text' in input || (input.path === '-' && process.stdin.isTTY)
    if (isTyped || !isAlone) return
    this.#bar = progressBar(input.totalBytes)
    this.#bar?.update(0, 'nothing sent yet')
  }

  /** `count` more messages were acknowledged, the last of them ends at byte `readBytes`. */
  sent(count: number, readBytes: number): void {
    this.#count += count
    this.#bar?.update(readBytes, `${this.#count} sent`)
  }

  /** Reports how many messages were acknowledged, and how the sending ended. */
  end(ending: Ending): void {
    const seconds = Math.max(0.001, (clock.monotonic() - this.#beganAt) / 1000)
    const messages = counted(this.#count, 'message')
    const rate = Math.round(this.#count / seconds)
    if (ending === 'interrupted') {
      report(`Interrupted: ${messages} acknowledged; some more may have been stored`)
    } else if (!this.#isSilent) {
      const verb = ending === 'done' ? 'Sent' : 'Failed after'
      report(`${verb} ${messages} in ${seconds.toFixed(1)} s (${rate}/s)`)
    }
  }
}
