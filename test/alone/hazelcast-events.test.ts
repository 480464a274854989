/** Readers of `GET /events` on real members, while clients post and actors are killed. */
import { test } from 'node:test'
import { checkGiven, EventReader, post } from '../support/event-reader.ts'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { onMembers } from '../support/members.ts'

onMembers(() => {
  test('a reader that is cut and resumes misses nothing while a messages actor, a facade and the node are killed', async (context) => {
    const { system } = await hazelcastSystem(context, { args: ['--messages', '2'] })
    const steady = new EventReader(() => system.url, '?only=logged,delivered')
    const isCut = new EventReader(() => system.url, '?only=logged,delivered')
    const readers = { steady, isCut }
    context.after(() => Promise.all(Object.values(readers).map((reader) => reader.stop())))
    await system.until('both read', async () =>
      Object.values(readers).every(({ cursor }) => cursor !== undefined),
    )
    const posting = post(system)
    const cutting = setInterval(() => isCut.cut(), 1500)
    const more = async (count: number) => {
      const until = posting.ids.length + count
      await system.until('more is posted', async () => posting.ids.length >= until)
    }
    try {
      await more(100)
      for (const name of ['messages-1', 'facade-1']) {
        const { pid } = await system.actor(name)
        process.kill(pid, 'SIGKILL')
        await system.until(`${name} is back`, async () =>
          (await system.actors().catch(() => [])).some(
            (actor) => actor.name === name && actor.pid !== pid && actor.state === 'ready',
          ),
        )
        await more(50)
      }
      system.kill('SIGKILL')
      await system.exited
      await system.begin()
      await more(50)
    } finally {
      clearInterval(cutting)
      await posting.stop()
    }
    const isAll = (reader: EventReader) =>
      (['logged', 'delivered'] as const).every((event) => {
        const given = reader.ids(event)
        return posting.ids.every((id) => given.has(id))
      })
    await system.until('all is given', async () => Object.values(readers).every(isAll)).catch(() => {})
    for (const [name, reader] of Object.entries(readers)) checkGiven(reader, posting.ids, name)
  })
})
