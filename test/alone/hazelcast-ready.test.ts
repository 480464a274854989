/** `/readyz` beside real posts while clusters lose their majority, go and come back: ready means taken. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test from 'node:test'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { onMembers } from '../support/members.ts'
import { type System, sleep } from '../support/system.ts'

/** What `/readyz` said just before a post, and what became of the post. */
interface Sample {
  at: number
  isReady: boolean
  status: number
  outcome: string | undefined
  text: string
}

/** `/readyz` may be wrong for this long: a heartbeat, and a call that must first fail. */
const GRACE_MS = 2000

/** Posts without a pause, each after a look at `/readyz`, until it is stopped. */
class Watch {
  readonly samples: Sample[] = []
  readonly #url: string
  readonly #id = randomUUID()
  #isStopped = false
  readonly #ended: Promise<void>

  constructor(url: string) {
    this.#url = url
    this.#ended = this.#run()
  }

  async stop(): Promise<Sample[]> {
    this.#isStopped = true
    await this.#ended
    return this.samples
  }

  /** True when the last posts, for 1 s, were all answered with this status. */
  hasSettledOn(status: number): boolean {
    const last = this.samples.filter(({ at }) => at > performance.now() - 1000)
    return last.length > 3 && last.every((sample) => sample.status === status)
  }

  async #run(): Promise<void> {
    for (let number = 0; !this.#isStopped; number++) {
      const at = performance.now()
      const ready = await fetch(`${this.#url}/readyz`)
      await ready.text()
      const text = `post ${number} of ${this.#id}`
      const headers = { 'content-type': 'text/plain' }
      const response = await fetch(`${this.#url}/messages`, { method: 'POST', headers, body: text })
      const { outcome } = (await response.json()) as { outcome?: string }
      this.samples.push({ at, isReady: ready.ok, status: response.status, outcome, text })
      await sleep(20)
    }
  }
}

/** Fails where `/readyz` and the posts disagreed for longer than `GRACE_MS`. */
function assertAgreed(samples: readonly Sample[]): void {
  let disagreeSince: number | undefined
  for (const { at, isReady, status, outcome } of samples) {
    if (isReady === (status === 201)) disagreeSince = undefined
    else disagreeSince ??= at
    assert.ok(
      disagreeSince === undefined || at - disagreeSince <= GRACE_MS,
      `/readyz was ${isReady ? 200 : 503} for over ${GRACE_MS} ms while posts got ${status} ${outcome}`,
    )
  }
}

/** Nothing of what was refused with `none` is anywhere. */
async function assertNothingOf(system: System, samples: readonly Sample[]): Promise<void> {
  const refused = new Set(samples.flatMap(({ outcome, text }) => (outcome === 'none' ? text : [])))
  await system.until('all lanes can be read again', async () => {
    const { logged, stores } = await system.lists()
    const wrong = [logged, ...stores.values()].flat().filter(({ text }) => refused.has(text))
    assert.deepEqual(wrong, [], 'refused with `none`, and stored')
    return true
  })
}

onMembers(
  () => {
    test('ready means taken: /readyz agrees with posts within 2 s while the queue loses its majority and while a cluster is away; what is known to fail is refused with none', async (context) => {
      const { system, logging, queue } = await hazelcastSystem(context, { queue: 3 })
      for (const [what, cluster, killed] of [
        ['one member of three is left', queue, [1, 2]],
        ["the log's cluster is away", logging, [0]],
        ['both clusters are away', { members: [...logging.members, ...queue.members] }, [0, 1, 2, 3]],
      ] as const) {
        const watch = new Watch(system.url)
        await system.until('posts are taken', async () => watch.hasSettledOn(201))
        await Promise.all(killed.map((index) => cluster.members[index]!.kill()))
        await system.until(`posts are refused: ${what}`, async () => watch.hasSettledOn(503))
        const last = watch.samples.slice(-4)
        assert.deepEqual([...new Set(last.map(({ outcome }) => outcome))], ['none'], what)
        // Members that start at once need 11 s to agree on who was first.
        for (const index of killed) await cluster.members[index]!.start()
        await system.until('posts are taken again', async () => watch.hasSettledOn(201))
        const samples = await watch.stop()
        assertAgreed(samples)
        await assertNothingOf(system, samples)
      }
    })

    test('one of three logging actors stands still, messages actors come and go: ready all the time, posts are taken, and what is missing is degraded', async (context) => {
      const { system } = await hazelcastSystem(context, { args: ['--logging', '3'] })
      const watch = new Watch(system.url)
      await system.until('posts are taken', async () => watch.hasSettledOn(201))
      process.kill((await system.actor('logging-2')).pid, 'SIGSTOP')
      await system.until('it is degraded', async () => {
        const { degraded = [] } = await system.get<{ degraded?: string[] }>('/readyz')
        return degraded.some((what) => what.startsWith('logging-2: '))
      })
      await system.ready()
      for (const count of [4, 1]) {
        await system.send('PUT', '/actors/messages', { count })
        await system.ready()
      }
      const wrong = (await watch.stop()).filter(({ isReady, status }) => !isReady || status !== 201)
      assert.deepEqual(wrong, [])
    })
  },
  { atOnce: true },
)
