import assert from 'node:assert/strict'
import test from 'node:test'
import { ReadTurns } from '../../../src/actors/facade/turns.ts'
import { settle } from '../../support/fake-clock.ts'

/** Reads that end when they are told to. */
function open() {
  const turns = new ReadTurns()
  const began: string[] = []
  const ends = new Map<string, () => void>()
  const read = (name: string, source: string, limit: number) =>
    turns.take(source, limit, () => {
      began.push(name)
      return new Promise<void>((resolve) => ends.set(name, resolve))
    })
  return { began, ends, read, turns }
}

test('few parts of a source are read at a time; readers of little and of everything do not wait for each other', async () => {
  const { began, ends, read } = open()
  for (let index = 0; index < 100; index++) void read(`all ${index}`, 'log', 1000)
  await settle()
  assert.deepEqual(began, ['all 0', 'all 1'])
  for (let index = 0; index < 100; index++) void read(`little ${index}`, 'log', 100)
  await settle()
  assert.deepEqual(began.slice(2), ['little 0', 'little 1'])
  ends.get('all 0')!()
  ends.get('little 1')!()
  await settle()
  assert.deepEqual(began.slice(4), ['all 2', 'little 2'])
})

test('a source that does not answer holds up no other', async () => {
  const { began, read } = open()
  for (let index = 0; index < 5; index++) void read(`frozen ${index}`, 'messages-1', 1000)
  void read('the log', 'log', 1000)
  await settle()
  assert.deepEqual(began, ['frozen 0', 'frozen 1', 'the log'])
})

test('a read that fails gives its turn to the next', async () => {
  const { turns } = open()
  const fail = () => turns.take('log', 1, () => Promise.reject(new Error('away')))
  for (let index = 0; index < 5; index++) await assert.rejects(fail(), { message: 'away' })
})
