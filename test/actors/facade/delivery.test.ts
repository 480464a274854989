/** Pausing: the backend first, then every ready messages actor. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Delivery } from '../../../src/actors/facade/delivery.ts'
import type { Messages } from '../../../src/actors/protocol.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { PAUSE_TOLD_MS } from '../../../src/runtime/timings.ts'
import { entryOf, TestDirectory } from '../../support/actor-context.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const SILENT = new MailroomError('MR_DEADLINE_EXPIRED', { what: 'pause', deadlineMs: 1 })

function bench(names: string[]) {
  const clock = new FakeClock()
  const directory = new TestDirectory()
  directory.set(...names.map((name) => entryOf(name)))
  const heard: string[] = []
  const silent = new Set<string>()
  const queue = {
    isPaused: async () => heard.includes('stored true'),
    setPaused: async (paused: boolean) => void heard.push(`stored ${paused}`),
  }
  const at = ({ name }: { name: string }) =>
    ({
      pause: async (paused: boolean) => {
        if (silent.has(name)) throw SILENT
        heard.push(`${name} ${paused}`)
      },
    }) as unknown as Messages
  const delivery = new Delivery({ clock, directory, queue, holders: { at } })
  return { clock, directory, heard, silent, delivery }
}

test('it is stored before the messages actors are told, each once', async () => {
  const { delivery, heard } = bench(['messages-1', 'messages-2', 'logging-1'])
  await delivery.setPaused(true)
  assert.deepEqual(heard, ['stored true', 'messages-1 true', 'messages-2 true'])
  assert.equal(await delivery.isPaused(), true)
})

test('one that does not answer is told again; one that is ready no more is left out', async () => {
  const { delivery, heard, silent, clock, directory } = bench(['messages-1', 'messages-2', 'messages-3'])
  silent.add('messages-2').add('messages-3')
  let isDone = false
  const done = delivery.setPaused(true).then(() => {
    isDone = true
  })
  await clock.advance(1000)
  assert.equal(isDone, false)
  silent.delete('messages-2')
  directory.set(...['messages-1', 'messages-2'].map((name) => entryOf(name)))
  await clock.advance(1000)
  await done
  assert.deepEqual(heard, ['stored true', 'messages-1 true', 'messages-2 true'])
})

test('it is an error, with its outcome unknown, when one never answers', async () => {
  const { delivery, silent, clock } = bench(['messages-1', 'messages-2'])
  silent.add('messages-2')
  const failed = assert.rejects(delivery.setPaused(true), {
    code: 'MR_STORE_UNAVAILABLE',
    outcome: 'unknown',
    message: /messages-2 did not answer/,
  })
  await clock.advance(PAUSE_TOLD_MS + 1000)
  await failed
})
