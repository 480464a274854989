import assert from 'node:assert/strict'
import test from 'node:test'
import {
  entriesAt,
  hasNodeInNames,
  missingOf,
  nodeDirectory,
  notRunning,
} from '../../src/nodes/node-directory.ts'
import { entryOf } from '../support/actor-context.ts'

const SELF = { node: 'a', startId: '1', now: 0 }

test('an actor is reported with its port, and its address is the one its node was reached at', () => {
  const entry = entryOf('messages-1@a', { node: 'a', address: '127.0.0.1:9001', lanes: { 0: 2 } })
  const told = nodeDirectory(SELF, [entry])
  assert.equal(told.actors[0]!.port, 9001)
  assert.deepEqual(entriesAt(told, '10.0.0.7', { isUnreachable: false }), [
    { ...entry, address: '10.0.0.7:9001' },
  ])
  assert.deepEqual(entriesAt(told, 'fd00::7', { isUnreachable: false }), [
    { ...entry, address: '[fd00::7]:9001' },
  ])
})

test('the ready actors of an unreachable node count as restarting', () => {
  const states = ['starting', 'ready', 'draining', 'restarting', 'failed'] as const
  const told = nodeDirectory(
    SELF,
    states.map((state, index) => entryOf(`messages-${index + 1}@a`, { state })),
  )
  assert.deepEqual(
    entriesAt(told, '10.0.0.7', { isUnreachable: true }).map(({ state }) => state),
    ['starting', 'restarting', 'draining', 'restarting', 'failed'],
  )
})

test('hasNodeInNames refuses names without the node’s', () => {
  const named = (...names: string[]) =>
    hasNodeInNames(
      nodeDirectory(
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

test('a node lacks what its actors lack and every actor that is not ready', () => {
  const facade = entryOf('facade-1', { missing: ['a ready logging actor', 'logging-1: the disk is full'] })
  const full = entryOf('logging-1', { missing: ['the disk is full'] })
  assert.deepEqual(missingOf([facade, full, entryOf('messages-1', { state: 'draining' })]), [
    'a ready logging actor',
    'logging-1: the disk is full',
    'messages-1: draining',
  ])
  assert.deepEqual(missingOf([entryOf('logging-1')]), [])
  assert.deepEqual(missingOf([]), ['this node is starting'])
})

test('a node is healthy while its own actors run, whatever they lack', () => {
  const away = entryOf('logging-1', { missing: ["the log's Hazelcast cluster: not connected"] })
  assert.deepEqual(notRunning([away, entryOf('messages-1', { state: 'draining' })]), [])
  const noFork = entryOf('messages-2', { state: 'restarting', missing: ['its process could not be started'] })
  assert.deepEqual(
    notRunning([
      away,
      noFork,
      entryOf('messages-3', { state: 'failed' }),
      entryOf('x-4', { state: 'starting' }),
    ]),
    ['messages-2: restarting, its process could not be started', 'messages-3: failed', 'x-4: starting'],
  )
  assert.deepEqual(notRunning([]), ['this node is starting'])
})
