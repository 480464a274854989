import assert from 'node:assert/strict'
import test from 'node:test'
import { check, NOTHING_WRONG } from './checker.ts'
import { History } from './history.ts'

const item = (id: string, text: string) => ({ id, text, at: '' })

function history(): History {
  const made = new History()
  for (const text of ['one', 'two', 'unanswered']) made.attempted.add(text)
  made.acknowledge('A', 'one', 10)
  made.acknowledge('B', 'two', 20)
  return made
}

const stores = (...lists: ReturnType<typeof item>[][]) =>
  new Map(lists.map((list, index) => [`messages-${index + 1}`, list]))
const one = item('A', 'one')
const two = item('B', 'two')
const both = { logged: [one, two], stores: stores([one], [two]) }

test('accepts a correct history', () => {
  assert.deepEqual(check(history(), { logged: [one, two], stores: stores([one], [two]) }), NOTHING_WRONG)
})

test('allows an unanswered message in both lists', () => {
  const third = item('C', 'unanswered')
  assert.deepEqual(
    check(history(), { logged: [one, two, third], stores: stores([one, third], [two]) }),
    NOTHING_WRONG,
  )
})

test('counts a dead letter as a delivery', () => {
  assert.deepEqual(
    check(history(), { logged: [one, two], stores: stores([one]), dead: ['B'] }),
    NOTHING_WRONG,
  )
})

test('a history in which nothing was acknowledged is a failure', () => {
  assert.throws(() => check(new History(), { logged: [], stores: stores([]) }), { code: 'ERR_ASSERTION' })
})

test('a history without a final read is a failure', () => {
  assert.throws(() => check(history(), undefined), { code: 'ERR_ASSERTION' })
})

test('a read that began before a 201, or ended above it, need not show it', () => {
  const made = history()
  made.logReads.push({ beganAt: 15, ids: ['A'] }, { beganAt: 30, ids: ['B'], above: 'A' })
  assert.deepEqual(check(made, both), NOTHING_WRONG)
})

test('finds no stale read when the message is still listed', () => {
  const made = history()
  made.deliveredReads.push(['A'], ['A', 'B'])
  made.followed.push(new Set(['A', 'B']))
  assert.deepEqual(check(made, both), NOTHING_WRONG)
})

for (const [kind, what, change, ids] of [
  [
    'stale',
    'a 201, then absent from a log read',
    (made) => made.logReads.push({ beganAt: 21, ids: ['A'] }),
    ['B'],
  ],
  ['stale', 'seen delivered, then gone', (made) => made.deliveredReads.push(['A', 'AB']), ['AB']],
  ['stale', 'passed by a follower of the log', (made) => made.followed.push(new Set(['B'])), ['A']],
  ['duplicated', 'twice in a list that was read', (made) => made.deliveredReads.push(['A', 'A']), ['A']],
  [
    'unexpected',
    'out of order in a log read',
    (made) => made.logReads.push({ beganAt: 0, ids: ['B', 'A'] }),
    ['A'],
  ],
  ['unexpected', 'refused for good, and read', (made) => made.denied.add('two'), ['B']],
] as const satisfies [string, string, (made: History) => unknown, string[]][]) {
  test(`finds what is ${kind}: ${what}`, () => {
    const made = history()
    change(made)
    assert.deepEqual(check(made, both)[kind], ids)
  })
}

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
  ['torn', { logged: [one], stores: stores([one, two]) }, ['B']],
  ['stuck', { logged: [one, two], stores: stores([one]), pending: ['B'] }, ['B']],
] as const) {
  test(`finds what is ${kind}: ${ids}`, () => {
    assert.deepEqual(check(history(), read)[kind], ids)
  })
}

test('finds late and missing deliveries by the clock of the acknowledgements', () => {
  const made = history()
  made.show('A', 1010)
  made.show('A', 5000)
  const late = (afterMs: number) => check(made, both, { dueAt: (_, at) => at + afterMs }).late
  assert.deepEqual(late(1000), ['B'])
  made.show('B', 1021)
  assert.deepEqual(late(1000), ['B'])
  made.show('C', 1)
  assert.deepEqual(late(1001), [])
  assert.deepEqual(late(Number.POSITIVE_INFINITY), [])
})

test('excuses only messages that are declared lost', () => {
  const excused = {
    logged: new Set(['B']),
    delivered: new Set<string>(),
    repeated: new Set(['two']),
    purged: new Set<string>(),
  }
  const made = history()
  made.logReads.push({ beganAt: 30, ids: [] })
  made.followed.push(new Set(['A']))
  made.deliveredReads.push(['A', 'B'])
  const read = { logged: [one], stores: stores([one]) }
  assert.deepEqual(check(made, read, { excused }), { ...NOTHING_WRONG, stale: ['A', 'B'] })
  const nowhere = { ...excused, delivered: new Set(['A', 'B']) }
  assert.deepEqual(check(made, read, { excused: nowhere }), { ...NOTHING_WRONG, stale: ['A'] })
  const inOne = { logged: [one, two], stores: stores([one]) }
  assert.deepEqual(check(history(), inOne, { excused: nowhere }), { ...NOTHING_WRONG, torn: ['B'] })
})

test('excuses a text with two ids when its key has expired, but no id that is listed twice', () => {
  const excused = {
    logged: new Set<string>(),
    delivered: new Set<string>(),
    repeated: new Set(['two']),
    purged: new Set<string>(),
  }
  const again = item('C', 'two')
  const twice = { logged: [one, two, again], stores: stores([one, two, again]) }
  assert.deepEqual(check(history(), twice, { excused }), NOTHING_WRONG)
  const shownTwice = { ...twice, stores: stores([one, two, again], [two]) }
  assert.deepEqual(check(history(), shownTwice, { excused }), { ...NOTHING_WRONG, duplicated: ['B'] })
})

test('allows a purged message in the log only', () => {
  const none = new Set<string>()
  const excused = { logged: none, delivered: none, repeated: none, purged: new Set(['B']) }
  assert.deepEqual(
    check(history(), { logged: [one, two], stores: stores([one]) }, { excused }),
    NOTHING_WRONG,
  )
  const neither = { logged: [one, two], stores: stores() }
  assert.deepEqual(check(history(), neither, { excused }), { ...NOTHING_WRONG, torn: ['A'] })
})
