import assert from 'node:assert/strict'
import test from 'node:test'
import { SortedIds } from '../../../src/storage/hazelcast/sorted-ids.ts'
import { seeded } from '../../support/actor-context.ts'

test('ids that come and go in any order are paged in order, each once', () => {
  const random = seeded(7)
  const ids = new SortedIds()
  const expected = new Set(['05', '01', '03'])
  ids.reset(expected)
  for (let turn = 0; turn < 2000; turn++) {
    const id = String(Math.floor(random() * 100)).padStart(2, '0')
    if (random() < 0.5) {
      ids.add(id)
      expected.add(id)
    } else {
      ids.remove(id)
      expected.delete(id)
    }
    const after = String(Math.floor(random() * 101) - 1).padStart(2, '0')
    const page = [...expected].filter((one) => one > after).sort()
    assert.deepEqual(ids.page(after, 7), page.slice(0, 7))
  }
})
