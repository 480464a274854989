/** `mailroom redrive`: puts back what one Hazelcast cluster has lost, from the other. */
import type { ApiClient } from '../http/api-client.ts'
import { counted, print, progressBar, report } from './terminal.ts'

/** What `POST /log/redrive` answers: with `lane` of the queue, else of the log. */
interface Page {
  checked: number
  redriven?: number
  restored?: number
  lost?: number
  next: string | null
}

/**
 * Goes through the log, oldest first, and has the node put back every message that the queue has lost; then goes through
 * the queue, lane by lane, and has it put back every message that the log has lost. When it is interrupted, run it
 * again: it skips messages that are back already.
 *
 * @param options.since An id: only messages younger than it. Null: all.
 * @throws {ApiError | Unreachable} When a page fails; the pages before it are done.
 */
export async function redrive(
  client: ApiClient,
  { since, json }: { since: string | null; json: boolean },
): Promise<void> {
  const bar = progressBar(0)
  const sum = { checked: 0, redriven: 0, checkedOfQueue: 0, restored: 0, lost: 0 }
  const go = async (path: string, add: (page: Page) => void) => {
    for (let next: string | null = path; next !== null; ) {
      const page: Page = await client.insist('POST', next, { startsLater: true })
      add(page)
      next = page.next
      bar?.update(0, `${sum.checked + sum.checkedOfQueue} checked, ${sum.redriven + sum.restored} put back`)
    }
  }
  try {
    await go(since === null ? '/log/redrive' : `/log/redrive?after=${since}`, (page) => {
      sum.checked += page.checked
      sum.redriven += page.redriven ?? 0
    })
    await go(since === null ? '/log/redrive?lane=0' : `/log/redrive?lane=0&since=${since}`, (page) => {
      sum.checkedOfQueue += page.checked
      sum.restored += page.restored ?? 0
      sum.lost += page.lost ?? 0
    })
  } catch (error) {
    const { checked, redriven, checkedOfQueue, restored } = sum
    const ofLog = `${counted(checked, 'message')} of the log, with ${redriven} put back into the queue`
    const ofQueue = `, and ${checkedOfQueue} of the queue, with ${restored} put back into the log`
    const done = checkedOfQueue > 0 ? ofLog + ofQueue : ofLog
    if (checked + checkedOfQueue > 0) report(`Stopped after ${done}; run it again to go on`)
    throw error
  } finally {
    bar?.clear()
  }
  const { checked, redriven, checkedOfQueue, restored, lost } = sum
  if (json) {
    const ofLog = { ...(restored > 0 && { restored }), ...(lost > 0 && { lost }) }
    return print(JSON.stringify({ checked, redriven, ...ofLog }))
  }
  const nothing = restored === 0 ? ', there is nothing to do' : ''
  const ofQueue =
    redriven === 0 ? `: the queue has lost none${nothing}` : `, put ${redriven} back into the queue`
  print(`Checked ${counted(checked, 'message')} of the log${ofQueue}`)
  if (restored > 0)
    print(`Checked ${counted(checkedOfQueue, 'message')} of the queue, put ${restored} back into the log`)
  if (lost > 0) {
    const what = `${counted(lost, 'message')} of the queue remain${lost === 1 ? 's' : ''} lost from the log`
    print(`${what}: purged as dead letters, their texts were in the log only`)
  } else if (restored > 0) print('No message of the queue remains lost from the log')
}
