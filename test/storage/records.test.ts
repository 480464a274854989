/** What the records of a lane say together, whoever wrote them, and in whichever order they are read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchKeyOf, idAtPlace } from '../../src/storage/ids.ts'
import { UNSTARTED } from '../../src/storage/lane.ts'
import { deliveredRecords, type LaneRecord, Outcomes } from '../../src/storage/records.ts'

const KEY = batchKeyOf('01KAXB5Z7T4N8V2M6Q0R3W9C01')
const id = (place: number) => idAtPlace(KEY, place)
const LETTER = { text: 'a', reason: 'r', attempts: 3, firstError: 'f', lastError: 'l', deadAt: 5 }
const ID = id(1)
const DEAD: LaneRecord = { id: ID, is: 'dead', letter: LETTER }
const PURGED: LaneRecord = { id: ID, is: 'purged' }
const WAITING: LaneRecord = { id: ID, is: 'waiting', attempts: { ...UNSTARTED, starts: 2 } }
const DELIVERED: LaneRecord = { id: ID, is: 'delivered', at: 7, attempts: 2 }

/** The outcome when these were written one after the other, in every order of reading. */
function outcomeOf(...written: LaneRecord[]): string | undefined {
  const rows = written.map((record, index) => ({
    ...{ id: `01KAXB5Z7T4N8V2M6Q0R3W9D0${index}`, lane: 0, text: JSON.stringify([record]) },
  }))
  const found = permutations(rows).map((order) => {
    const outcomes = new Outcomes([0])
    for (const row of order) outcomes.add(row)
    return JSON.stringify(outcomes.of(ID))
  })
  assert.equal(new Set(found).size, 1, 'it depends on the order of reading')
  return outcomeIn(found[0])
}

function outcomeIn(json: string | undefined): string | undefined {
  return json === undefined ? undefined : (JSON.parse(json) as { is: string }).is
}

function permutations<T>(items: T[]): T[][] {
  if (items.length < 2) return [items]
  return items.flatMap((item, index) =>
    permutations(items.filter((_, other) => other !== index)).map((rest) => [item, ...rest]),
  )
}

test('without a record a message waits as it was posted', () => {
  assert.equal(outcomeOf(), undefined)
})

test('the latest counts: a dead letter that was replayed waits, and dies again', () => {
  assert.equal(outcomeOf(WAITING, DEAD), 'dead')
  assert.equal(outcomeOf(DEAD, WAITING), 'waiting')
  assert.equal(outcomeOf(DEAD, WAITING, DEAD), 'dead')
})

test('delivered wins, whatever a former holder wrote late; a purged one does not come back', () => {
  assert.equal(outcomeOf(DELIVERED, WAITING), 'delivered')
  assert.equal(outcomeOf(DELIVERED, DEAD, PURGED), 'delivered')
  assert.equal(outcomeOf(DEAD, PURGED, WAITING), 'purged')
})

test('messages of a batch that were delivered side by side are one record; each is found', () => {
  const delivered = [1, 2, 3, 5, 6].map((place) => ({ id: id(place), attempts: place === 3 ? 2 : 1 }))
  const records = deliveredRecords(delivered, 9)
  assert.deepEqual(
    records.map((record) => [record.id, record.count]),
    [
      [id(1), 2],
      [id(3), 1],
      [id(5), 2],
    ],
  )
  const outcomes = new Outcomes([0])
  outcomes.add({ id: '01KAXB5Z7T4N8V2M6Q0R3W9D01', lane: 0, text: JSON.stringify(records) })
  const found = [1, 2, 3, 4, 5, 6].map((place) => outcomes.of(id(place)))
  const [one, two] = [1, 2].map((attempts) => ({ is: 'delivered', at: 9, attempts }))
  assert.deepEqual(found, [one, one, two, undefined, one, one])
})

test('of a message that two holders delivered, the first time counts', () => {
  const outcomes = new Outcomes([0])
  for (const at of [9, 7, 8])
    outcomes.add({
      id: `01KAXB5Z7T4N8V2M6Q0R3W9D0${at}`,
      lane: 0,
      text: JSON.stringify([{ ...DELIVERED, at }]),
    })
  assert.deepEqual(outcomes.of(ID), { is: 'delivered', at: 7, attempts: 2 })
})

test('records of other lanes are passed over; dead letters are told by lane', () => {
  const outcomes = new Outcomes([1, 2])
  for (const lane of [1, 2, 3])
    outcomes.add({
      ...{ id: `01KAXB5Z7T4N8V2M6Q0R3W9D0${lane}`, lane },
      text: JSON.stringify([{ ...DEAD, id: id(lane) }]),
    })
  assert.equal(outcomes.of(id(3)), undefined)
  assert.deepEqual(outcomes.lettersOf(2), [{ id: id(2), text: 'a' }])
})
