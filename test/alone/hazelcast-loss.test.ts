/** The real program without a journal, when its clusters lose what they held: while all of Mailroom restarts, too. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { systemClock } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import type { KnownCluster, Loss, SeenCluster } from '../../src/runtime/losses.ts'
import { HazelcastCluster } from '../../src/storage/hazelcast/client.ts'
import type { ClusterMap } from '../../src/storage/hazelcast/cluster.ts'
import { NAMES } from '../../src/storage/hazelcast/entries.ts'
import { freePort } from '../../tools/free-port.ts'
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import { run } from '../support/command.ts'
import { flagsOf, hazelcastSystem, JOURNAL_OFF } from '../support/hazelcast-system.ts'
import { clusterFor, onMembers } from '../support/members.ts'
import { System } from '../support/system.ts'

const COUNT = 40

onMembers(
  () => {
    test('everything restarts at once, as with `docker compose restart`: the loss is told until it is confirmed, and restarts do not hide it', async (context) => {
      const { system, logging, queue } = await hazelcastSystem(context, {
        args: [...JOURNAL_OFF, '--logging', '1', '--messages', '1'],
      })
      const restart = async (...clusters: Cluster[]) => {
        system.kill()
        await system.exited
        await Promise.all(clusters.flatMap(({ members }) => members.map((member) => member.kill())))
        await system.workersEnded()
        await Promise.all(clusters.flatMap(({ members }) => members.map((member) => member.start())))
        await system.begin()
      }
      const loss = async (...flags: string[]) => {
        const { code, stdout, stderr } = await run(['loss', ...flags, '--url', system.url])
        assert.equal(stderr, '')
        return { code, stdout }
      }
      const untilTold = (...stores: string[]) =>
        system.until(`the loss of ${stores} is told`, async () => {
          const damaged = await damagedOf(system)
          return (
            damaged.length === stores.length &&
            stores.every((store) => damaged.join().includes(`the ${store}'s`))
          )
        })

      const { warnings = [] } = await system.get<{ warnings?: string[] }>('/readyz')
      for (const told of [warnings.join(), system.output])
        assert.match(told, /no journal on .* \(--journal off\)/)
      await post(system, COUNT)
      await system.until('the node has noted what both clusters hold', async () =>
        (['log', 'queue'] as const).every((store) => knownIn(system)[store].count === COUNT),
      )
      const before = system.output.length
      await restart(logging, queue)
      await untilTold('log', 'queue')
      for (const what of await damagedOf(system)) {
        assert.match(what, /came back empty/)
        assert.match(what, new RegExp(`about ${COUNT} messages`))
        assert.match(what, /mailroom redrive.*mailroom loss --confirm/)
      }
      const status = await run(['status', '--url', system.url])
      assert.match(status.stdout, /Damaged: .*came back empty.*came back empty/)
      assert.equal(linesAbout(system, before).length, 2, system.output)

      await restart()
      await untilTold('log', 'queue')
      const told = await loss()
      assert.equal(told.code, 1)
      assert.match(told.stdout, /the log's .*\n.*the queue's/)
      const losses = JSON.parse((await loss('--json')).stdout) as Loss[]
      assert.deepEqual(
        losses.map(({ store, count }) => [store, count]),
        [
          ['log', COUNT],
          ['queue', COUNT],
        ],
      )

      assert.match((await loss('--confirm')).stdout, /^Confirmed: .*\nConfirmed: .*\n$/)
      assert.deepEqual(await damagedOf(system), [])
      assert.deepEqual(await loss('--confirm'), { code: 0, stdout: 'There is no loss to confirm\n' })
      assert.deepEqual(await loss('--json'), { code: 0, stdout: '[]\n' })

      const confirmed = system.output.length
      await restart(queue)
      await untilTold('queue')
      assert.equal(linesAbout(system, confirmed).length, 1, 'what was confirmed is not reported again')
    })

    test('nodes without their data: the queue remembers the log that is gone; confirmed at one node, no node reports it', async (context) => {
      const [logging, queue] = await Promise.all([
        clusterFor(context, 'logging', 1),
        clusterFor(context, 'queue', 1),
      ])
      const ports = [await freePort(), await freePort()]
      const begin = (index: number, counts: string[]) =>
        System.spawned(context, [
          ...flagsOf(logging, queue),
          ...JOURNAL_OFF,
          ...[
            '--peers',
            ports.map((port) => `127.0.0.1:${port}`).join(),
            '--secret',
            'a-secret-of-all-nodes',
          ],
          ...['--node', `node-${index}`, '--internal-port', String(ports[index]), ...counts],
        ])
      const nodes = [
        await begin(0, ['--logging', '0', '--messages', '1']),
        await begin(1, ['--facade', '0', '--logging', '1', '--messages', '0']),
      ] as const
      const [front, back] = nodes
      await front.ready()
      await post(front, COUNT)
      await front.until('the other node has noted the epoch', async () => knownIn(back).log.count === COUNT)
      const { epoch } = knownIn(back).log
      const meta = await metaOf(queue, context)
      await front.until('the queue remembers it', async () => {
        const other = JSON.parse((await meta.get('other')) ?? '{}') as Partial<SeenCluster>
        return other.epoch === epoch && other.count === COUNT
      })

      for (const node of nodes) node.kill()
      await Promise.all(nodes.map(({ exited }) => exited))
      await Promise.all(nodes.map((node) => node.workersEnded()))
      for (const { data } of nodes) rmSync(join(data, 'clusters.json'))
      await logging.members[0]!.kill()
      await logging.members[0]!.start()
      for (const node of nodes) node.spawn()
      await front.ready()
      await front.until('the loss is told', async () => (await damagedOf(front)).length === 1)
      assert.match(
        (await damagedOf(front)).join(),
        new RegExp(`the log's .* came back empty.* about ${COUNT} messages`),
      )
      assert.equal((await run(['loss', '--confirm', '--url', front.url])).code, 0)
      assert.deepEqual(await damagedOf(front), [])
      await back.until(
        'the other node has noted it',
        async () => knownIn(back).log.losses[0]?.isConfirmed === true,
      )
      assert.match(back.output, /came back empty[\s\S]*the loss of the log's cluster is confirmed/)
    })
  },
  { atOnce: true },
)

/** The map that holds a cluster's epoch. */
async function metaOf(cluster: Cluster, context: TestContext): Promise<ClusterMap> {
  const options = {
    clusterName: cluster.name,
    members: cluster.addresses,
    store: cluster.name,
    instanceName: 'test',
  }
  const client = new HazelcastCluster({ ...options, clock: systemClock, logger: createLogger('silent', {}) })
  context.after(() => client.close())
  await new Promise<void>((connected) => client.onConnect(connected))
  return client.map(NAMES.meta)
}

async function post(system: System, count: number): Promise<void> {
  for (let index = 0; index < count; index++)
    await system.send('POST', '/messages', { text: `text ${index}` })
}

async function damagedOf(system: System): Promise<string[]> {
  return (await system.get<{ damaged?: string[] }>('/readyz')).damaged ?? []
}

/** What a node has stored of the clusters. */
function knownIn({
  data,
}: System): Record<'log' | 'queue', Pick<KnownCluster, 'epoch' | 'count' | 'losses'>> {
  const none = { epoch: '', count: 0, losses: [] }
  const path = join(data, 'clusters.json')
  return { log: none, queue: none, ...(existsSync(path) && JSON.parse(readFileSync(path, 'utf8'))) }
}

function linesAbout({ output }: System, from: number): string[] {
  return output
    .slice(from)
    .split('\n')
    .filter((line) => /came back empty/.test(line))
}
