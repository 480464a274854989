/** `mailroom pause`, `mailroom resume` and `mailroom redeliver`: whether messages are delivered, and one once more. */
import type { ApiClient } from '../http/api-client.ts'
import { print, printable } from './terminal.ts'

/**
 * Pauses delivery, or resumes it. Returns when every messages actor has it. With `json` it prints the node's answer.
 *
 * @throws {ApiError | Unreachable} When the node cannot: then some actors may have it.
 */
export async function pause(client: ApiClient, paused: boolean, { json }: { json: boolean }): Promise<void> {
  const answer = await client.insist('PUT', '/delivery', { body: { paused } })
  if (json) return print(printable(answer))
  print(paused ? 'Delivery is paused until `mailroom resume`; posts are taken meanwhile' : 'Delivery goes on')
}

/**
 * Runs the handler, or forwards, once more for a delivered message. Returns when it has succeeded. With `json` it prints
 * the node's answer.
 *
 * @throws {ApiError | Unreachable} When it failed, with its error, or cannot run now.
 */
export async function redeliver(client: ApiClient, id: string, { json }: { json: boolean }): Promise<void> {
  const answer = await client.call('POST', `/messages/${encodeURIComponent(id)}/redeliver`, { patient: true })
  print(json ? printable(answer) : `Delivered again: ${id}`)
}
