import assert from 'node:assert/strict'
import test from 'node:test'
import { areNamedAfterIt, entriesAt, lackedBy, toldBy } from '../../src/nodes/node-directory.ts'
import { entryOf } from '../support/actor-context.ts'

const SELF = { node: 'a', startId: '1' }

test('an actor is reported with its port, and reached at the address of its node', () => {
  const entry = entryOf('messages-1@a', { node: 'a', address: '127.0.0.1:9001', lanes: { 0: 2 } })
  const told = toldBy(SELF, [entry])
  assert.equal(told.actors[0]!.port, 9001)
  assert.deepEqual(entriesAt(told, '10.0.0.7', { away: false }), [{ ...entry, address: '10.0.0.7:9001' }])
  assert.deepEqual(entriesAt(told, 'fd00::7', { away: false }), [{ ...entry, address: '[fd00::7]:9001' }])
})

test('ready actors of an unreachable node count as restarting', () => {
  const states = ['starting', 'ready', 'draining', 'restarting', 'failed'] as const
  const told = toldBy(
    SELF,
    states.map((state, index) => entryOf(`messages-${index + 1}@a`, { state })),
  )
  assert.deepEqual(
    entriesAt(told, '10.0.0.7', { away: true }).map(({ state }) => state),
    ['starting', 'restarting', 'draining', 'restarting', 'failed'],
  )
})

test('names of actors have the node’s name only with several nodes', () => {
  const named = (...names: string[]) =>
    areNamedAfterIt(
      toldBy(
        SELF,
        names.map((name) => entryOf(name)),
      ),
    )
  assert.equal(named(), true)
  assert.equal(named('messages-1@a', 'logging-2@a'), true)
  for (const name of ['messages-1', 'messages-1@b', 'messages@a', 'messages-x@a', 'messages-1@a@b']) {
    assert.equal(named('messages-1@a', name), false, name)
  }
})

test('a node is missing what its actors miss, and every actor that is not ready', () => {
  const facade = entryOf('facade-1', { missing: ['a ready logging actor', 'logging-1: the disk is full'] })
  const full = entryOf('logging-1', { missing: ['the disk is full'] })
  assert.deepEqual(lackedBy([facade, full, entryOf('messages-1', { state: 'draining' })]), [
    'a ready logging actor',
    'logging-1: the disk is full',
    'messages-1: draining',
  ])
  assert.deepEqual(lackedBy([entryOf('logging-1')]), [])
  assert.deepEqual(lackedBy([]), ['this node is starting'])
})
