/**
 * `mailroom send`: posts texts in batches, several at a time. Each batch carries an idempotency key, so that
 * trying it again, after whatever went wrong, stores nothing twice.
 */
import { randomBytes } from 'node:crypto'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { type Line, openSource, splitLines, textOf, wholeOf } from './lines.ts'
import { print } from './print.ts'
import { SendProgress } from './send-progress.ts'
import type { Receipts, Source } from './send-source.ts'

const BATCH_COUNT = 500
const BATCH_BYTES = 900_000
const IN_FLIGHT_COUNT = 4

interface Receipt {
  id: string
  at: string
}

/**
 * Sends everything of a source, or up to the first line that cannot be sent.
 *
 * @param options.forMs How long a batch is tried again while the other side is away or overloaded.
 * @throws {MailroomError} `MR_MESSAGE_INVALID`, `MR_TOO_LARGE` for a text that cannot be sent, with its line;
 * all before it have been sent. @throws {ApiError} What was refused, with its lines. @throws {Unreachable}
 */
export async function send(
  client: ApiClient,
  source: Source,
  { receipts, forMs }: { receipts: Receipts; forMs: number },
): Promise<void> {
  const progress = new SendProgress(source, { isAlone: receipts === 'none' || !process.stdout.isTTY })
  const forget = onInterrupt(() => progress.end('interrupted'))
  const post = poster(client, forMs, (line) => progress.tell(line))
  const sending: Promise<void>[] = []
  let printed: Promise<void> = Promise.resolve()
  let failure: unknown
  try {
    for await (const batch of batchesOf(source)) {
      const posted = post(batch)
      sending.push(
        posted.then(
          () => progress.sent(batch.length, batch.at(-1)!.readBytes),
          (error: unknown) => {
            failure ??= error
          },
        ),
      )
      // What was acknowledged after a batch that failed is printed too: it is stored.
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

/** Posts a batch until it is answered; the first time nothing comes of it is told. */
function poster(
  client: ApiClient,
  forMs: number,
  tell: (line: string) => void,
): (batch: readonly Line[]) => Promise<Receipt[]> {
  let told = false
  const onRetry = ({ message }: Error) => {
    if (!told) tell(`${message}\nTrying again for up to ${forMs / 1000} s`)
    told = true
  }
  return async (batch) => {
    const body = batch.map(({ text }) => ({ text }))
    const headers = { 'idempotency-key': randomBytes(16).toString('hex') }
    try {
      return await client.insist('POST', '/messages', { body, headers, forMs, onRetry })
    } catch (error) {
      if (error instanceof ApiError || error instanceof Unreachable) {
        error.message = inLines(error.message, batch)
      }
      throw error
    }
  }
}

/** Names the line where the API names a place in the batch, else the lines of the batch. */
function inLines(message: string, batch: readonly Line[]): string {
  const named = message.replace(/\[(\d+)\](\.text)?/, (place, index) => {
    const line = batch[Number(index)]
    return line === undefined ? place : `line ${line.number}`
  })
  if (named !== message || batch.length === 1) return named
  return `Lines ${batch[0]!.number} to ${batch.at(-1)!.number}: ${message}`
}

function printReceipts(batch: readonly Line[], answers: readonly Receipt[], receipts: Receipts): void {
  if (receipts === 'none') return
  for (const [index, { id, at }] of answers.entries()) {
    print(receipts === 'ids' ? id : JSON.stringify({ line: batch[index]!.number, id, at }))
  }
}

async function* batchesOf(source: Source): AsyncGenerator<Line[]> {
  if ('text' in source) {
    yield [alone(textOf(Buffer.from(source.text), 'the text'))]
  } else if (source.whole) {
    yield [alone(await wholeOf(openSource(source.path)))]
  } else {
    for await (const lines of splitLines(openSource(source.path), source)) yield* cut(lines)
  }
}

function alone(text: string): Line {
  return { text, number: 1, readBytes: Buffer.byteLength(text) }
}

/** Lines in batches the API takes. */
function* cut(lines: readonly Line[]): Generator<Line[]> {
  let batch: Line[] = []
  let bytes = 0
  for (const line of lines) {
    const lineBytes = Buffer.byteLength(JSON.stringify({ text: line.text })) + 1
    if (batch.length === BATCH_COUNT || (batch.length > 0 && bytes + lineBytes > BATCH_BYTES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(line)
    bytes += lineBytes
  }
  if (batch.length > 0) yield batch
}
