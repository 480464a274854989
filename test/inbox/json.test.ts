/** The parser of files that people write: it takes what JSON is, and says where a mistake is. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { parseJson } from '../../src/inbox/json.ts'

test('it takes what JSON.parse takes, and gives the same', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.nat(4), (text, indent) => {
      const value = JSON.parse(text)
      assert.deepEqual(parseJson(JSON.stringify(value, null, indent)), { value, duplicates: [] })
    }),
  )
})

test('it refuses what JSON.parse refuses', () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom('', ',', '"', '\\', '0', '}', '\n', '\u0001', 'x'),
      (json, at, character) => {
        const place = at % (json.length + 1)
        const text = json.slice(0, place) + character + json.slice(place + 1)
        const isJson = takes(() => JSON.parse(text))
        assert.equal(
          takes(() => parseJson(text)),
          isJson,
          text,
        )
      },
    ),
    { numRuns: 2000 },
  )
})

function takes(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch (error) {
    if (error instanceof Error && error.name !== 'RangeError') return false
    throw error
  }
}

for (const [text, message] of [
  ['', 'line 1, column 1: expected a value, got the end'],
  ['{"a" 1}', 'line 1, column 6: expected :, got "1"'],
  ['{"a": 1 "b": 2}', 'line 1, column 9: expected , or }, got "\\""'],
  ['{\n  a: 1 }', 'line 2, column 3: expected a name in double quotes, got "a"'],
  ['[1, 2', 'line 1, column 6: expected , or ], got the end'],
  ['[01]', 'line 1, column 2: expected a value, got "0"'],
  ['["\\x"]', 'line 1, column 2: expected a value, got "\\""'],
  ['{} // more', 'line 1, column 4: expected the end, got "/"'],
  ['{\r\n"\u{1f4ee}": \u{1f4ee}}', 'line 2, column 7: expected a value, got "\u{1f4ee}"'],
  ['['.repeat(100_000), 'line 1, column 34: expected at most 32 levels, got "["'],
] as const) {
  test(`a mistake has its place: ${JSON.stringify(text.slice(0, 20))}`, () => {
    assert.throws(() => parseJson(text), { message })
  })
}

test('a key that stands twice is named, whatever its spelling; one in two objects is not', () => {
  const { duplicates } = parseJson('{"a": {"b": 1, "\\u0062": 2}, "c": [{"b": 1}, {"b": 2}],\n "a": 3}')
  assert.deepEqual(duplicates, [
    'line 1, column 16: "b" is there twice',
    'line 2, column 2: "a" is there twice',
  ])
})
