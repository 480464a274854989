/** `mailroom loss`: what a cluster has lost with all its members, and its confirmation. */
import type { ApiClient } from '../http/api-client.ts'
import { print, printable } from './terminal.ts'

/** What `GET /loss` and `POST /loss/confirm` answer. */
interface Answer {
  losses: { detail: string }[]
}

/**
 * Prints the losses that nobody has confirmed, or confirms them. Without `confirm` the exit code is 1 while there is a
 * loss.
 *
 * @param options.json The losses as one JSON array.
 * @throws {ApiError | Unreachable} When the node cannot answer, or cannot reach a cluster whose loss is to be confirmed.
 */
export async function loss(
  client: ApiClient,
  { confirm, json }: { confirm: boolean; json: boolean },
): Promise<void> {
  const { losses } = confirm
    ? await client.insist<Answer>('POST', '/loss/confirm')
    : await client.insist<Answer>('GET', '/loss')
  if (!confirm && losses.length > 0) process.exitCode = 1
  if (json) return print(printable(losses))
  for (const { detail } of losses) print(confirm ? `Confirmed: ${detail}` : detail)
  if (losses.length === 0) print(`There is no loss${confirm ? ' to confirm' : ''}`)
}
