/** `mailroom scale`: changes the number of actors. */
import type { ApiClient } from '../http/api-client.ts'
import { ROLES, type Role } from '../runtime/cluster/directory.ts'
import { MAX_ACTORS } from '../settings/config.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print } from './terminal.ts'

/**
 * Scales roles one after the other, live, and prints the actors as they are then.
 *
 * @param orders Such as `messages=4`.
 * @throws {MailroomError} `MR_CONFIG_INVALID` for a bad order; then no role is scaled.
 * @throws {ApiError} When the node refuses; the orders before are carried out.
 */
export async function scale(client: ApiClient, orders: readonly string[]): Promise<void> {
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
  print(actorsTable(actors))
}
