/** `mailroom pause`, `mailroom resume` and `mailroom redeliver`: whether messages are delivered, and one once more. */
import type { ApiClient } from '../http/api-client.ts'
import { print } from './terminal.ts'

/**
 * Pauses delivery, or resumes it. Returns when every messages actor has it.
 *
 * @throws {ApiError | Unreachable} When the node cannot: then some actors may have it.
 */
export async function pause(client: ApiClient, paused: boolean): Promise<void> {
  await client.insist('PUT', '/delivery', { body: { paused } })
  print(paused ? 'Delivery is paused until `mailroom resume`; posts are taken meanwhile' : 'Delivery goes on')
}

/**
 * Runs the handler, or forwards, once more for a delivered message. Returns when it has succeeded.
 *
 * @throws {ApiError | Unreachable} When it failed, with its error, or cannot run now.
 */
export async function redeliver(client: ApiClient, id: string): Promise<void> {
  await client.call('POST', `/messages/${encodeURIComponent(id)}/redeliver`, { patient: true })
  print(`Delivered again: ${id}`)
}
