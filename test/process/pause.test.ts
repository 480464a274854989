/** A pause of the real program: under load, over a restart, over kills. Nothing is lost, and nothing starts in between. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../support/command.ts'
import { System } from '../support/system.ts'

const NOTING = `
import { appendFileSync } from 'node:fs'
export default ({ text }) => appendFileSync(process.env.NOTES, text + '\\n')`

test('paused under load, killed, restarted and resumed: nothing is lost, nothing starts in between', async (context) => {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-pause-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  writeFileSync(join(path, 'handler.mjs'), NOTING)
  const notes = join(path, 'notes')
  appendFileSync(notes, '')
  const started = () => readFileSync(notes, 'utf8').split('\n').slice(0, -1)
  const flags = ['--handler', join(path, 'handler.mjs')]
  const system = await System.start(context, flags, { env: { NOTES: notes } })
  const sent: string[] = []
  let isPosting = true
  const post = async (name: string) => {
    for (let number = 0; isPosting; number++) {
      const text = `${name}-${number}`
      const response = await fetch(`${system.url}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'text/plain', 'idempotency-key': text },
        body: text,
      }).catch(() => undefined)
      if (response?.status === 201) sent.push(text)
      else number--
    }
  }
  const posting = ['a', 'b', 'c', 'd'].map(post)
  const command = (name: 'pause' | 'resume') => run([name, '--url', system.url])
  const countOf = () => sent.length
  await system.until('messages are delivered', async () => started().length > 50)

  assert.equal((await command('pause')).code, 0)
  // What was started before the pause may run on.
  await new Promise((resolve) => setTimeout(resolve, 500))
  const before = started().length
  const stillStarted = (when: string) => assert.equal(started().length, before, when)
  const later = countOf() + 200
  await system.until('more is posted', async () => countOf() > later)
  stillStarted('under load')
  const readiness = await system.get<{ status: string; degraded: string[] }>('/readyz')
  assert.match(readiness.degraded.join(), /delivery is paused/)
  const [messages] = (await system.actors()).filter(({ role }) => role === 'messages')
  process.kill(messages!.pid, 'SIGKILL')
  await system.until('it is back', async () =>
    (await system.actors()).every(({ state, pid }) => state === 'ready' && pid !== messages!.pid),
  )
  stillStarted('after a kill')
  isPosting = false
  await Promise.all(posting)
  system.kill('SIGTERM')
  await system.exited
  system.spawn()
  await system.until('the next node is ready', async () => {
    const actors = await system.actors()
    return actors.length > 0 && actors.every(({ state }) => state === 'ready')
  })
  assert.deepEqual(await system.get('/delivery'), { paused: true })
  await new Promise((resolve) => setTimeout(resolve, 1500))
  stillStarted('after a restart')

  assert.equal((await command('resume')).code, 0)
  await system.until('all is delivered', async () => new Set(started()).size >= sent.length)
  assert.deepEqual([...new Set(started())].sort(), sent.toSorted())
})
