/** `mailroom restart`: actors one by one, without a failed request. */
import type { ApiClient } from '../http/api-client.ts'
import type { Role } from '../runtime/directory.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print } from './print.ts'

/** Those behind come first: the facades are replaced in front of actors that are new already. */
const ALL: readonly Role[] = ['messages', 'logging', 'facade']

/**
 * Restarts the actors of a role, or all of them, and shows the actors there are then.
 *
 * @throws {ApiError} For what the node refuses; the roles before it are restarted.
 */
export async function restart(client: ApiClient, only: Role | undefined): Promise<void> {
  let actors: ShownActor[] = []
  for (const role of only === undefined ? ALL : [only]) {
    process.stderr.write(`Restarting the ${role} actors one by one\n`)
    actors = await client.call('POST', `/actors/${role}/restart`, { patient: true })
  }
  print(actorsTable(actors))
}
