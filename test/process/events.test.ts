/** Readers of `GET /events` of the real program, while clients post, connections are cut and processes are killed. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EVENT_READERS_MAX } from '../../src/http/events.ts'
import { run } from '../support/command.ts'
import { checkGiven, EventReader, post } from '../support/event-reader.ts'
import { System } from '../support/system.ts'

test('readers that are cut, read slowly and resume miss nothing while facade, actors and node are restarted and killed', async (context) => {
  const system = await System.start(context, ['--facade', '2', '--messages', '2'])
  const url = () => system.url
  const steady = new EventReader(url, '?only=logged,delivered')
  const isCut = new EventReader(url, '?only=logged,delivered')
  const slow = new EventReader(url)
  slow.slowMs = 30
  const readers = { steady, isCut, slow }
  context.after(() => Promise.all(Object.values(readers).map((reader) => reader.stop())))
  await system.until('all read', async () =>
    Object.values(readers).every(({ connections }) => connections > 0),
  )
  const posting = post(system)
  const cutting = setInterval(() => isCut.cut(), 700)
  const more = async (count: number) => {
    const until = posting.ids.length + count
    await system.until('more is posted', async () => posting.ids.length >= until)
  }
  const back = (pid: number) =>
    system.until('it is back', async () =>
      (await system.actors().catch(() => [])).every((actor) => actor.state === 'ready' && actor.pid !== pid),
    )
  const kill = async (name: string) => {
    const { pid } = await system.actor(name)
    process.kill(pid, 'SIGKILL')
    await back(pid)
    await more(50)
  }
  try {
    await more(100)
    await kill('messages-1')
    await kill('facade-1')
    await kill('logging-2')
    await kill('facade-2')
    assert.equal((await run(['restart', '--url', system.url])).code, 0)
    await more(100)
    system.kill('SIGKILL')
    await system.exited
    await system.begin()
    await more(100)
    system.kill('SIGTERM')
    await system.exited
    await system.begin()
    await more(100)
  } finally {
    clearInterval(cutting)
    await posting.stop()
  }
  slow.slowMs = 0
  await system
    .until('all is given', async () =>
      Object.values(readers).every((reader) =>
        (['logged', 'delivered'] as const).every((event) => {
          const given = reader.ids(event)
          return posting.ids.every((id) => given.has(id))
        }),
      ),
    )
    .catch(() => {})
  for (const [name, reader] of Object.entries(readers)) {
    await reader.stop()
    checkGiven(reader, posting.ids, name)
    assert.ok(reader.connections >= 4, `${name} connected ${reader.connections} times`)
  }
  assert.ok(isCut.connections > 10)
  // A steady reader is given again what it had of the seconds before it was disconnected, at most so often.
  const again = [...steady.given['logged']!.values()].filter(({ at }) => at.length > 1)
  for (const { at } of again) assert.ok(at.at(-1)! - at[0]! < 30_000, 'only of the last seconds')
})

test('what was delivered while nobody read, long after it was logged, is given to those who resume', async (context) => {
  const system = await System.start(context)
  const reader = new EventReader(() => system.url, '?only=delivered')
  context.after(() => reader.stop())
  await system.until('it reads', async () => reader.cursor !== undefined)
  assert.equal((await run(['pause', '--url', system.url])).code, 0)
  const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'waits' })
  await sleep(6000)
  await reader.stop()
  assert.equal((await run(['resume', '--url', system.url])).code, 0)
  await system.get(`/messages/${id}?wait=10`)
  await sleep(5000)
  const after = reader.cursor
  const resumed = new EventReader(() => system.url, `?only=delivered&after=${after}`)
  context.after(() => resumed.stop())
  await system.until('it is given', async () => resumed.ids('delivered').has(id))
  await resumed.stop()
})

test('1,000 readers are served, one more is refused, and posts and other reads go on', async (context) => {
  const system = await System.start(context)
  const heard = new Map<Socket, string>()
  const open = async () => {
    const socket = connect(system.port, '127.0.0.1')
    heard.set(socket, '')
    socket.setEncoding('latin1').on('data', (data) => heard.set(socket, heard.get(socket)! + data))
    socket.on('error', () => {})
    socket.write('GET /events?only=stats,logged HTTP/1.1\r\nHost: localhost\r\n\r\n')
  }
  context.after(() => {
    for (const socket of heard.keys()) socket.destroy()
  })
  for (let count = 0; count < EVENT_READERS_MAX; count += 100) {
    await Promise.all(Array.from({ length: 100 }, open))
    await system.until('they are served', async () =>
      [...heard.values()].every((text) => text.includes('id: ')),
    )
  }
  const refused = await fetch(`${system.url}/events`)
  assert.equal(refused.status, 503)
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  assert.equal(((await refused.json()) as { code: string }).code, 'MR_READERS_FULL')
  const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'hello' })
  assert.equal((await fetch(`${system.url}/log`)).status, 200)
  await system.until('all are given figures and the message', async () =>
    [...heard.values()].every((text) => text.includes(id) && text.split('event: stats').length > 3),
  )
})
