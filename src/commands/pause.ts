/** `mailroom pause` and `mailroom resume`: delivery stops and goes on; posts are taken all the while. */
import type { ApiClient } from '../http/api-client.ts'
import { print } from './terminal.ts'

/**
 * Pauses delivery, or resumes it. Returns when every messages actor has it.
 *
 * @throws {ApiError | Unreachable} When the node cannot: then some actors may have it.
 */
export async function pause(client: ApiClient, paused: boolean): Promise<void> {
  await client.insist('PUT', '/delivery', { body: { paused } })
  print(
    paused
      ? 'Delivery is paused: posts are taken, and nothing is started until `mailroom resume`'
      : 'Delivery goes on',
  )
}
