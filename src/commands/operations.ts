/** `mailroom scale` and `mailroom restart`: change the running actors, without a failed request. */
import { type ApiClient, ApiError } from '../http/api-client.ts'
import { MAX_ACTORS, ROLES, type Role } from '../runtime/cluster/directory.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print, printable, report } from './terminal.ts'

/** Facades last: the actors they call are new by then. */
const RESTART_ORDER: readonly Role[] = ['messages', 'logging', 'facade']

/**
 * Scales roles one after the other, live, and prints the actors as they are then, with `json` as `GET /actors` does.
 *
 * @param orders Such as `messages=4`.
 * @throws {MailroomError} `MR_CONFIG_INVALID` for a bad order; then no role is scaled.
 * @throws {ApiError} When the node refuses; the orders before are carried out.
 */
export async function scale(
  client: ApiClient,
  orders: readonly string[],
  { json }: { json: boolean },
): Promise<void> {
  const parsed = orders.map((order) => {
    const [, role, count] = /^([a-z]+)=(\d{1,9})$/.exec(order) ?? []
    return { order, role: role as Role, count: Number(count) }
  })
  const expected = `Expected ROLE=COUNT, such as messages=4, with a role of ${ROLES.join(', ')} and a count from 1 to ${MAX_ACTORS}`
  const problems = parsed
    .filter(({ role, count }) => !ROLES.includes(role) || !(count >= 1 && count <= MAX_ACTORS))
    .map(({ order }) => `${expected}, got ${JSON.stringify(order)}`)
  for (const role of ROLES) {
    const same = parsed.filter((one) => one.role === role).map(({ order }) => order)
    if (same.length > 1) problems.push(`Expected one order for each role, got ${same.join(' and ')}`)
  }
  if (problems.length > 0) throw invalidConfig(...problems)
  let actors: ShownActor[] = []
  for (const { role, count } of parsed) {
    actors = await client.insist('PUT', `/actors/${role}`, { body: { count }, patient: true })
  }
  print(json ? printable(actors) : actorsTable(actors))
}

/**
 * Restarts the actors of a role, or all that the node hosts, and prints the actors as they are then, with `json` as `GET /actors` does.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` for an unknown role.
 * @throws {ApiError} When the node refuses; the roles before are restarted.
 */
export async function restart(
  client: ApiClient,
  only: string | undefined,
  { json }: { json: boolean },
): Promise<void> {
  if (only !== undefined && !ROLES.includes(only as Role)) {
    throw invalidConfig(`Expected the role to be one of ${ROLES.join(', ')}, got ${JSON.stringify(only)}`)
  }
  let actors: ShownActor[] = []
  for (const role of only === undefined ? RESTART_ORDER : [only]) {
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
  print(json ? printable(actors) : actorsTable(actors))
}
