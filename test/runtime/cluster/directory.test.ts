import assert from 'node:assert/strict'
import test from 'node:test'
import {
  type ActorState,
  actorName,
  actorNumber,
  inOrder,
  livingMessages,
  ROLES,
} from '../../../src/runtime/cluster/directory.ts'
import { entryOf } from '../../support/actor-context.ts'

test('an actor’s name contains its number, which can be read from it', () => {
  for (const role of ROLES) for (const n of [1, 9, 64]) assert.equal(actorNumber(actorName(role, n)), n)
})

test('lanes are for messages actors that are ready or restarting, and for no others', () => {
  const states: ActorState[] = ['starting', 'ready', 'draining', 'restarting', 'failed']
  const actors = ROLES.flatMap((role) =>
    states.map((state, index) => entryOf(actorName(role, index + 1), { state })),
  )
  assert.deepEqual(livingMessages(actors), ['messages-2', 'messages-4'])
})

test('with several nodes an actor’s name ends with its node’s name, whatever that contains', () => {
  for (const node of ['a', 'logging-7', 'host-3.example', '0123456789ab']) {
    const name = actorName('logging', 12, node)
    assert.equal(name, `logging-12@${node}`)
    assert.equal(actorNumber(name), 12)
  }
})

test('actors are sorted by role, node and number', () => {
  const named = (name: string) => entryOf(name, { node: name.split('@')[1] ?? 'here' })
  const order = [
    'facade-1@n2',
    'logging-2@n1',
    'logging-10@n1',
    'logging-1@n2',
    'logging-1@n10',
    'messages-1@n1',
  ]
  const sorted = order.map(named).toReversed().sort(inOrder)
  assert.deepEqual(
    sorted.map(({ name }) => name),
    order,
  )
})
