/** `mailroom redrive`: puts the messages that a queue cluster has lost back into it, from the log. */
import type { ApiClient } from '../http/api-client.ts'
import { counted, ProgressBar, print } from './terminal.ts'

/** What `POST /log/redrive` answers. */
interface Page {
  checked: number
  redriven: number
  next: string | null
}

/**
 * Goes through the log, oldest first, and has the node put back every message that the queue has lost. When it
 * is interrupted, run it again: it skips messages that are back already.
 *
 * @param options.since An id: only messages younger than it. Null: the whole log.
 * @throws {ApiError | Unreachable} When a page fails; the pages before it are done.
 */
export async function redrive(
  client: ApiClient,
  { since, json }: { since: string | null; json: boolean },
): Promise<void> {
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr, 0) : undefined
  let [checked, redriven] = [0, 0]
  let next: string | null = since === null ? '/log/redrive' : `/log/redrive?after=${since}`
  try {
    while (next !== null) {
      const page: Page = await client.insist('POST', next, { startsLater: true })
      checked += page.checked
      redriven += page.redriven
      next = page.next
      bar?.update(0, `${checked} checked, ${redriven} put back`)
    }
  } finally {
    bar?.clear()
  }
  if (json) return print(JSON.stringify({ checked, redriven }))
  const done =
    redriven === 0
      ? ': the queue has lost none, there is nothing to do'
      : `, put ${redriven} back into the queue`
  print(`Checked ${counted(checked, 'message')} of the log${done}`)
}
