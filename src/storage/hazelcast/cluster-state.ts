/** Whether a member of a cluster may be stopped now, and how much the cluster holds: what its members report, in words. */
import type { ClusterState } from '../ports.ts'
import type { MemberReport } from './cluster.ts'

/** What is known of a cluster beside the reports. */
export interface ClusterFacts {
  store: 'log' | 'queue'
  name: string
  /** Addresses that Mailroom was given: the cluster has as many members at least. */
  givenCount: number
  /** What keeps Mailroom from using the cluster, human-readable. */
  missing: string | undefined
  heldBytes: number | null
  limitBytes: number | null
  /** What is wrong, although a member may be stopped. */
  warnings: readonly string[]
}

/** The state of a cluster, from the reports of all members that Mailroom is connected to. */
export function clusterStateOf(facts: ClusterFacts, reports: readonly MemberReport[]): ClusterState {
  const { store, name, givenCount, missing, heldBytes, limitBytes } = facts
  const problems = missing === undefined ? problemsOf(reports, givenCount) : [missing]
  const warnings = [...facts.warnings]
  if (reports.length === 1) warnings.push('it has one member: what it holds is lost when that ends')
  return {
    ...{ store, name, safe: problems.length === 0, problems, warnings },
    members: reports.map(({ address, memory, health }) => ({
      address,
      state: health === null ? null : health.nodeState.toLowerCase(),
      safe: health?.isSafe ?? null,
      partitions: memory?.partitionCount ?? null,
      migrations: health?.migrationCount ?? null,
      heapBytes: memory?.heapBytes ?? null,
      usedBytes: memory?.usedBytes ?? null,
    })),
    ...{ heldBytes, limitBytes },
  }
}

/** Why a member must not be stopped now. */
function problemsOf(reports: readonly MemberReport[], givenCount: number): string[] {
  const count = reports.length
  const problems: string[] = []
  if (count < givenCount) problems.push(`it has ${count} of ${givenCount} members`)
  for (const { address, memory, health } of reports) {
    if (health === null) problems.push(`${address} does not answer Hazelcast's health check`)
    else problems.push(...problemsAt(address, health, count))
    if (health !== null && memory === null) problems.push(`${address} reports no metrics`)
    // It has just joined, and the others have not yet begun to hand over its share.
    if (memory?.partitionCount === 0) problems.push(`${address} holds no partition yet`)
  }
  return problems
}

function* problemsAt(
  address: string,
  { seenCount, isSafe, migrationCount, nodeState, clusterState }: NonNullable<MemberReport['health']>,
  count: number,
): Generator<string> {
  if (seenCount !== count) yield `${address} sees ${seenCount} members instead of ${count}`
  if (nodeState !== 'ACTIVE') yield `${address} is ${nodeState.toLowerCase()}`
  if (clusterState !== 'ACTIVE') yield `${address} is in a cluster that is ${clusterState.toLowerCase()}`
  if (!isSafe) yield `${address} says that not all backups are made (clusterSafe is false)`
  if (migrationCount > 0) yield `${address} has ${migrationCount} migrations waiting`
}
