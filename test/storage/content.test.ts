/** The stored text of a content, and back. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { bytesOf, type Content, contentOf, shown, storedText } from '../../src/storage/content.ts'

const ID = '01K0000000000000000000000A'
const head = { source: 'github', type: 'application/json', headers: { 'x-github-event': 'push', a: '"\n\0' } }

const contents: Record<string, Content> = {
  'a text': { text: 'hello' },
  'a text that begins with NUL': { text: '\0hello' },
  'a text that is NUL': { text: '\0' },
  'a text that looks like a stored one': { text: '\0{"source":"github"}\nhello' },
  'a text that looks like an escaped one': { text: '\0\nhello' },
  'a body with a head': { text: '{"a":1}\n\0', ...head },
  'an empty body': { text: '', source: 'form' },
  'a body with a byte order mark': { text: '\uFEFFhello', ...head },
  'a body that begins with NUL': { text: '\0{}\n', ...head },
  'a binary body': { base64: Buffer.from([0, 255, 10, 128]).toString('base64'), ...head },
  'a binary body without a head': { base64: '/w==' },
}

for (const [name, content] of Object.entries(contents)) {
  test(`${name} is stored and read back`, () => {
    const stored = storedText(content)
    assert.notEqual(stored, '')
    assert.ok(stored.isWellFormed())
    assert.deepEqual(contentOf(stored), content)
  })
}

test('a text without NUL at its beginning is stored as it is', () => {
  assert.equal(storedText({ text: 'hel\0lo' }), 'hel\0lo')
})

test('a text that was stored before there were heads is a body', () => {
  for (const text of ['\0', '\0hello', '\0hello\nworld', '\0{\n', '\0null\n', '\0[]\nhello', '\0"x"\n']) {
    assert.deepEqual(contentOf(text), { text }, JSON.stringify(text))
  }
})

test('a message is shown with its head, its id first', () => {
  const text = storedText({ base64: '/w==', ...head })
  assert.deepEqual(Object.keys(shown({ id: ID, text })), ['id', 'base64', 'at', 'source', 'type', 'headers'])
  assert.deepEqual(Object.keys(shown({ id: ID, text: 'hello' })), ['id', 'text', 'at'])
  assert.deepEqual(bytesOf(contentOf(text)), Buffer.from([255]))
})
