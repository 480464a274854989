import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Store } from '../../../src/actors/messages/store.ts'
import { MIN_ID } from '../../../src/storage/ids.ts'
import type { Message } from '../../../src/storage/ports.ts'
import { pageOf } from '../../support/memory-backend.ts'

const LANES = 3
const ROOMY_BYTES = 1_000_000
const id = (number: number) => `01${String(number).padStart(24, '0')}`
const message = (number: number, text = `text ${number}`): Message => ({ id: id(number), text })
const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 12 })
const bound = fc.option(fc.integer({ min: 0, max: 61 }).map(id), { nil: undefined })
const range = fc.record({ after: bound, before: bound, limit: fc.integer({ min: 1, max: 30 }) })

/** How many messages a store holds. */
function countOf(store: Store): number {
  let count = 0
  while (store.page({ limit: count + 1 })?.length === count + 1) count++
  return count
}

const command = fc.oneof(
  fc.record({ does: fc.constant('deliver'), lane: fc.nat(LANES - 1), numbers }),
  fc.record({ does: fc.constant('release'), lane: fc.nat(LANES - 1) }),
  fc.record({ does: fc.constant('take'), lane: fc.nat(LANES - 1), known: fc.nat(10) }),
  fc.record({ does: fc.constant('page'), range }),
)

/**
 * The lists of all lanes, held or not. A page of the store must be a page of the lists of the held lanes. Each number
 * belongs to one lane.
 */
class Model {
  readonly homes = Array.from({ length: LANES }, () => new Map<string, Message>())
  readonly held = new Set<number>()

  deliver(lane: number, numbers: readonly number[]): Message[] {
    const fresh = numbers
      .filter((number) => number % LANES === lane)
      .sort((a, b) => a - b)
      .map((number) => message(number))
    for (const one of fresh) this.homes[lane]!.set(one.id, one)
    return fresh
  }

  get shown(): Message[] {
    return [...this.held].flatMap((lane) => [...this.homes[lane]!.values()])
  }
}

for (const [name, windowBytes] of [
  ['with room for everything', ROOMY_BYTES],
  ['in a small window', 1500],
] as const) {
  test(`a page equals that of a plain list of all messages, ${name}, or is undefined`, () => {
    let answered = 0
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const store = new Store(windowBytes)
        const model = new Model()
        for (const command of commands) {
          if (command.does === 'deliver' && model.held.has(command.lane)) {
            store.add(command.lane, model.deliver(command.lane, command.numbers))
          } else if (command.does === 'release') {
            model.held.delete(command.lane)
            store.removeLane(command.lane)
          } else if (command.does === 'take' && !model.held.has(command.lane)) {
            const all = pageOf(model.homes[command.lane]!.values(), { after: '0', limit: 1000 })
            const newest = all.slice(Math.max(0, all.length - command.known))
            model.held.add(command.lane)
            store.addLane(
              command.lane,
              newest,
              newest.length === all.length ? MIN_ID : (newest[0] ?? all.at(-1)!).id,
            )
          } else if (command.does === 'page') {
            const { after, before, limit } = command.range
            const range = { limit, ...(after && { after }), ...(before && { before }) }
            const page = store.page(range)
            if (page === undefined) continue
            answered++
            assert.deepEqual(page, pageOf(model.shown, range))
          }
        }
      }),
      { numRuns: 300 },
    )
    assert.ok(answered > 100, 'pages were compared')
  })
}

test('with room for everything a page is never undefined', () => {
  const store = new Store(ROOMY_BYTES)
  store.add(0, [message(1), message(2)])
  assert.deepEqual(store.page({ limit: 1000 }), [message(2), message(1)])
  assert.deepEqual(store.page({ after: MIN_ID, limit: 1000 }), [message(1), message(2)])
})

test('the store keeps the newest messages, within its window', () => {
  const store = new Store(100_000)
  for (let number = 0; number < 1000; number++) store.add(0, [message(number, 'x'.repeat(840))])
  const count = countOf(store)
  assert.ok(count <= 100 && count >= 85, `${count} held`)
  assert.equal(store.page({ limit: 1 })![0]!.id, id(999))
  assert.equal(store.page({ after: MIN_ID, limit: 1 }), undefined)
})

test('a message larger than the window leaves it, and pages below it are undefined', () => {
  const store = new Store(1000)
  store.add(0, [message(1, 'x'.repeat(2000))])
  assert.equal(countOf(store), 0)
  assert.equal(store.page({ limit: 1 }), undefined)
  assert.deepEqual(store.page({ after: id(1), limit: 1 }), [])
})

test('removing a lane frees its bytes', () => {
  const store = new Store(10_000)
  store.add(0, [message(1, 'x'.repeat(9000))])
  store.removeLane(0)
  store.add(1, [message(2, 'x'.repeat(9000))])
  assert.equal(countOf(store), 1)
})
