/** `mailroom cluster`: how both Hazelcast clusters are, and whether one of their members may be stopped now. */
import { styleText } from 'node:util'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { WATCH_MS } from '../runtime/timings.ts'
import type { ClusterState } from '../storage/ports.ts'
import { print, printable, report, table } from './terminal.ts'

/** What `GET /cluster` answers. */
interface Answer {
  safe: boolean
  clusters: ClusterState[]
}

/**
 * Prints both clusters once, or when they are safe. Exit code 0: every member is there, every partition has its
 * backups, and none migrates. Else 1.
 *
 * @param options.waitMs How long to ask again, every second, while they are not safe or the node does not answer.
 * @throws {Unreachable | ApiError} When the last answer was none.
 */
export async function cluster(
  client: ApiClient,
  { json, waitMs }: { json: boolean; waitMs: number },
): Promise<void> {
  const endAt = clock.monotonic() + waitMs
  const ask = () => client.call<Answer>('GET', '/cluster')
  let answer = waitMs === 0 ? await client.insist<Answer>('GET', '/cluster') : await orReason(ask())
  let reported = ''
  while ((typeof answer === 'string' || !answer.safe) && clock.monotonic() < endAt) {
    const reason = typeof answer === 'string' ? answer : problemsOf(answer).join('; ')
    if (reason !== reported) report(`Waiting: ${reason}`)
    reported = reason
    await clock.sleep(WATCH_MS)
    answer = await orReason(ask())
  }
  if (typeof answer === 'string') answer = await ask()
  print(json ? printable(answer) : answer.clusters.map(wordsOf).join('\n\n'))
  if (!answer.safe) process.exitCode = 1
}

/** The answer, or why there is none that asking again may bring. */
async function orReason(asked: Promise<Answer>): Promise<Answer | string> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof Unreachable || (error instanceof ApiError && error.retryable)) return error.message
    throw error
  }
}

function problemsOf({ clusters }: Answer): string[] {
  return clusters.flatMap(({ store, problems }) => problems.map((problem) => `${store}: ${problem}`))
}

function wordsOf({
  store,
  name,
  safe,
  problems,
  warnings,
  members,
  heldBytes,
  limitBytes,
}: ClusterState): string {
  const title = `${store}: cluster ${name || '(unknown)'}`
  const lines = [
    safe
      ? styleText('green', `${title} is safe`)
      : styleText('red', `${title} is not safe: ${problems.join('; ')}`),
    ...warnings.map((warning) => styleText('yellow', `Warning: ${warning}`)),
  ]
  const rows = members.map((member) => [
    member.address,
    member.state ?? 'silent',
    ...[member.partitions, member.migrations].map((count) => String(count ?? '-')),
    `${inMiB(member.usedBytes)} of ${inMiB(member.heapBytes)} MiB`,
  ])
  const titles = ['MEMBER', 'STATE', 'PARTITIONS', 'MIGRATIONS', 'HEAP']
  if (rows.length > 0) lines.push(table(titles, rows, { wordColumns: 2 }))
  if (limitBytes !== null)
    lines.push(`It holds about ${inMiB(heldBytes)} of at most ${inMiB(limitBytes)} MiB`)
  return lines.join('\n')
}

function inMiB(bytes: number | null): string {
  return bytes === null ? '-' : String(Math.round(bytes / 2 ** 20))
}
