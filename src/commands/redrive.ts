/** `mailroom redrive`: what a queue cluster has lost is put back into it from the log. */
import type { ApiClient } from '../http/api-client.ts'
import { print } from './print.ts'
import { ProgressBar } from './progress-bar.ts'

/** What `POST /log/redrive` answers. */
interface Page {
  checked: number
  redriven: number
  next: string | null
}

/**
 * Goes through the log, oldest first, and has all that the queue has lost put back. Whatever interrupts it, it
 * may be run again: what is back already is left alone.
 *
 * @param options.since An id: only what is younger. Null: the whole log.
 * @param options.timeoutMs How long a page is tried again while Mailroom is away or overloaded.
 * @throws {ApiError | Unreachable} When a page cannot be done; those before it are.
 */
export async function redrive(
  client: ApiClient,
  { since, json, timeoutMs }: { since: string | null; json: boolean; timeoutMs: number },
): Promise<void> {
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr, 0) : undefined
  const sum = { checked: 0, redriven: 0 }
  let next: string | null = since === null ? '/log/redrive' : `/log/redrive?after=${since}`
  try {
    while (next !== null) {
      const page: Page = await client.insist('POST', next, { forMs: timeoutMs })
      sum.checked += page.checked
      sum.redriven += page.redriven
      next = page.next
      bar?.update(0, `${sum.checked} checked, ${sum.redriven} put back`)
    }
  } finally {
    bar?.clear()
  }
  print(json ? JSON.stringify(sum) : inWords(sum))
}

function inWords({ checked, redriven }: { checked: number; redriven: number }): string {
  const messages = `Checked ${checked} ${checked === 1 ? 'message' : 'messages'} of the log`
  return redriven === 0
    ? `${messages}: the queue has lost none, there is nothing to do`
    : `${messages}, put ${redriven} back into the queue`
}
