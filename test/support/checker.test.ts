import assert from 'node:assert/strict'
import test from 'node:test'
import { check } from './checker.ts'
import { History } from './load.ts'

const item = (id: string, text: string) => ({ id, text, at: '' })
const fine = { lost: [], duplicated: [], unexpected: [], torn: [] }

function history(): History {
  const made = new History()
  for (const text of ['one', 'two', 'unanswered']) made.attempted.add(text)
  made.acknowledged.set('A', 'one').set('B', 'two')
  return made
}

const stores = (...lists: ReturnType<typeof item>[][]) =>
  new Map(lists.map((list, index) => [`messages-${index + 1}`, list]))
const one = item('A', 'one')
const two = item('B', 'two')

test('finds nothing wrong with a history that is right', () => {
  assert.deepEqual(check(history(), { logged: [one, two], stores: stores([one], [two]) }), fine)
})

test('lets an unanswered message be in both lists', () => {
  const third = item('C', 'unanswered')
  assert.deepEqual(check(history(), { logged: [one, two, third], stores: stores([one, third], [two]) }), fine)
})

test('lets a dead letter stand for a delivery', () => {
  assert.deepEqual(check(history(), { logged: [one, two], stores: stores([one]), dead: ['B'] }), fine)
})

test('a history in which nothing was acknowledged is a failure', () => {
  assert.throws(() => check(new History(), { logged: [], stores: stores([]) }), { code: 'ERR_ASSERTION' })
})

for (const [kind, read, ids] of [
  ['lost', { logged: [one], stores: stores([one]) }, ['B']],
  ['duplicated', { logged: [one, two, two], stores: stores([one, two]) }, ['B']],
  ['duplicated', { logged: [one, two], stores: stores([one, two], [one]) }, ['A']],
  [
    'duplicated',
    { logged: [one, two, item('C', 'two')], stores: stores([one, two, item('C', 'two')]) },
    ['C'],
  ],
  ['unexpected', { logged: [one, two, item('D', 'x')], stores: stores([one, two, item('D', 'x')]) }, ['D']],
  ['unexpected', { logged: [one, two], stores: stores([two, one]) }, ['A']],
  ['torn', { logged: [one, two], stores: stores([one]) }, ['B']],
] as const) {
  test(`finds what is ${kind}: ${ids}`, () => {
    assert.deepEqual(check(history(), read)[kind], ids)
  })
}
