/** The real program and its members: whether one may be stopped, how full they are, what happens when they are full. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Client } from 'hazelcast-client'
import { BOUND_CHECK_MS, REDRIVE_AGE_MS } from '../../src/runtime/timings.ts'
import type { ClusterState } from '../../src/storage/ports.ts'
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import { run } from '../support/command.ts'
import { hazelcastSystem, JOURNAL_OFF } from '../support/hazelcast-system.ts'
import { onMembers } from '../support/members.ts'
import type { Lists } from '../support/running-system.ts'
import { type System, sleep } from '../support/system.ts'

interface Clusters {
  safe: boolean
  clusters: ClusterState[]
}

onMembers(
  () => {
    test('mailroom cluster: exit code 0 only when each member says that the cluster is whole, with all backups and no migration', async (context) => {
      const { system, queue } = await hazelcastSystem(context, { queue: 3 })
      await system.send('POST', '/messages', [{ text: 'one' }, { text: 'two' }])
      await cluster(system, '--wait', '30s')

      const [member] = queue.members
      await member!.kill()
      const without = await cluster(system)
      assert.equal(without.code, 1)
      assert.match(without.stdout, /^queue: cluster queue is not safe: \S/m)
      assert.match(without.stdout, /^log: cluster logging is safe$/m)
      await queue.whole()
      await system.until('only a member is missing', async () => {
        const { clusters } = await system.get<Clusters>('/cluster')
        return clusters[1]?.problems.join() === 'it has 2 of 3 members'
      })

      // While it joins and takes over its share, nothing may be called safe that is not.
      const starting = member!.start()
      let isSafe = false
      while (!isSafe) {
        const { safe, clusters } = await system.get<Clusters>('/cluster')
        isSafe = safe
        if (!safe) await sleep(100)
        if (safe) assert.deepEqual(await unsafeAt(queue), [], JSON.stringify(clusters))
      }
      await starting
      const { code, stdout } = await cluster(system, '--wait', '30s', '--json')
      assert.equal(code, 0)
      const { clusters } = JSON.parse(stdout) as Clusters
      assert.deepEqual(
        clusters.map(({ store, name, members }) => [store, name, members.length]),
        [
          ['log', 'logging', 1],
          ['queue', 'queue', 3],
        ],
      )
      for (const { members, heldBytes, limitBytes } of clusters) {
        assert.ok(heldBytes! > 0 && limitBytes! > heldBytes!)
        for (const { state, partitions, heapBytes } of members) {
          assert.equal(state, 'active')
          assert.ok(partitions! > 0 && heapBytes! > 200 * 2 ** 20)
        }
      }
    })

    test('members with small heaps: posts are refused before a heap is full, redrive stops there, too, and a member out of memory ends', async (context) => {
      const { system, queue } = await hazelcastSystem(context, {
        heaps: { logging: 128, queue: 64 },
        args: [...JOURNAL_OFF],
      })
      const [member] = queue.members
      const pid = member!.pid
      const accepted = await fill(system)
      const { missing } = (await (await fetch(`${system.url}/readyz`)).json()) as { missing: string[] }
      assert.match(missing.join(), FULL)
      assert.match((await run(['status', '--url', system.url])).stdout, FULL)
      const { clusters } = await system.get<Clusters>('/cluster')
      assert.ok(clusters[1]!.heldBytes! >= clusters[1]!.limitBytes!)
      assert.match((await cluster(system)).stdout, FULL)
      await system.until('what was accepted is in both lists', async () => {
        const { logged, delivered } = await system.get<Lists>('/messages')
        assert.ok(logged.length >= accepted)
        return delivered.length > 0
      })
      assert.equal(member!.pid, pid, 'the member lives')

      await member!.kill()
      await member!.start()
      // What others keep in the cluster counts, too: now it has room for a part of the log.
      const client = await Client.newHazelcastClient({
        clusterName: queue.name,
        network: { clusterMembers: [...queue.addresses] },
        properties: { 'hazelcast.logging.level': 'OFF' },
      })
      context.after(() => client.shutdown())
      const map = await client.getMap<string, string>('another program')
      for (let key = 0; key < 8; key++) await map.set(`first ${key}`, MEBIBYTE)
      await sleep(REDRIVE_AGE_MS)
      const { code, stderr } = await run(['redrive', '--timeout', '3s', '--url', system.url])
      assert.equal(code, 1, stderr)
      assert.match(stderr, FULL)
      const [, checked, redriven] =
        /Stopped after (\d+) messages of the log, with (\d+) put back into the queue/.exec(stderr) ?? []
      assert.ok(Number(checked) >= 100 && Number(redriven) >= 100 && Number(checked) < accepted, stderr)
      assert.ok(member!.isRunning)

      const ended = member!.exited.then(() => 'ended')
      for (let key = 0; ; key++) {
        const set = map.set(String(key), MEBIBYTE).catch(() => sleep(100))
        if ((await Promise.race([set, ended])) === 'ended') break
      }
      assert.equal(member!.isRunning, false)
    })
  },
  { atOnce: true },
)

const MEBIBYTE = 'x'.repeat(2 ** 20)
const FULL = /the queue's Hazelcast cluster is full: it holds about \d+ MiB of the 1\d MiB/

/** Posts until the cluster is full, by what its members report. @returns How many messages were accepted. */
async function fill(system: System): Promise<number> {
  const batch = Array.from({ length: 50 }, () => ({ text: 'x'.repeat(4096) }))
  let isReported = false
  for (let accepted = 0; ; ) {
    assert.ok(accepted < 20_000, 'it accepts for ever')
    const response = await fetch(`${system.url}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(batch),
    })
    if (response.status === 201) {
      accepted += batch.length
      isReported = false
      continue
    }
    const problem = (await response.json()) as { code: string; detail: string; outcome: string }
    assert.deepEqual([response.status, problem.outcome], [503, 'none'], JSON.stringify(problem))
    assert.match(problem.detail, FULL)
    if (isReported) return accepted
    // It was refused by what was added since the last report.
    await sleep(3 * BOUND_CHECK_MS)
    isReported = true
  }
}

function cluster(system: System, ...flags: string[]) {
  return run(['cluster', '--url', system.url, ...flags])
}

/** Members that do not say that all is well, by Hazelcast's own health check. */
async function unsafeAt({ members, addresses }: Cluster): Promise<string[]> {
  const health = await Promise.all(
    addresses.map(async (address) => (await fetch(`http://${address}/hazelcast/health`)).json()),
  )
  const wanted = { clusterSafe: true, migrationQueueSize: 0, clusterSize: members.length }
  return health.flatMap((answer, index) =>
    Object.entries(wanted).every(([name, value]) => answer[name] === value)
      ? []
      : [`${addresses[index]}: ${JSON.stringify(answer)}`],
  )
}
