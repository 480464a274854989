import assert from 'node:assert/strict'
import test from 'node:test'
import {
  type ActorState,
  actorName,
  actorNumber,
  livingMessages,
  ROLES,
} from '../../src/runtime/directory.ts'
import { entryOf } from '../support/world.ts'

test('an actor’s name and its number are made of one another', () => {
  for (const role of ROLES) for (const n of [1, 9, 64]) assert.equal(actorNumber(actorName(role, n)), n)
})

test('lanes are dealt to messages actors that are ready or coming back, and to nobody else', () => {
  const states: ActorState[] = ['starting', 'ready', 'draining', 'restarting', 'failed']
  const actors = ROLES.flatMap((role) =>
    states.map((state, index) => entryOf(actorName(role, index + 1), { state })),
  )
  assert.deepEqual(livingMessages(actors), ['messages-2', 'messages-4'])
})
