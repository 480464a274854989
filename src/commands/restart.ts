/** `mailroom restart`: restarts actors one by one, without a failed request. */
import { type ApiClient, ApiError } from '../http/api-client.ts'
import { ROLES, type Role } from '../runtime/cluster/directory.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print, report } from './terminal.ts'

/** Facades last: the actors they call are new by then. */
const ALL: readonly Role[] = ['messages', 'logging', 'facade']

/**
 * Restarts the actors of a role, or all that the node hosts, and prints the actors as they are then.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` for an unknown role.
 * @throws {ApiError} When the node refuses; the roles before are restarted.
 */
export async function restart(client: ApiClient, only: string | undefined): Promise<void> {
  if (only !== undefined && !isRole(only)) {
    throw invalidConfig(`Expected the role to be one of ${ROLES.join(', ')}, got ${JSON.stringify(only)}`)
  }
  let actors: ShownActor[] = []
  for (const role of only === undefined ? ALL : [only]) {
    report(`Restarting the ${role} actors one by one`)
    try {
      actors = await client.insist('POST', `/actors/${role}/restart`, { patient: true })
    } catch (error) {
      // One of several nodes may host only some of the roles.
      const isElsewhere = error instanceof ApiError && error.code === 'MR_ROLE_ELSEWHERE'
      if (only !== undefined || !isElsewhere) throw error
      report(error.message)
    }
  }
  print(actorsTable(actors))
}

function isRole(word: string): word is Role {
  return (ROLES as readonly string[]).includes(word)
}
