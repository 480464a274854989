/** Texts at random against the real program: what is valid comes back byte for byte, what is not is refused. */
import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import fc from 'fast-check'
import { System } from '../support/system.ts'
import { type Bytes, bytes, JSON_TYPE, LINES, post, TEXT } from './case.ts'
import { Unharmed } from './unharmed.ts'
import { type Answer, Wire } from './wire.ts'

const RUNS = 300

/** Characters of every kind: ASCII, controls, surrogate pairs, marks, whatever there is. */
const validText = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 })
/** Code units, paired or not. */
const anyText = fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)), minLength: 1 })

/** JSON of a string in one of its many spellings. */
const spelled = (text: string, choices: readonly number[]) => {
  const units = [...Array(text.length).keys()].map((at) => {
    const unit = text.charAt(at)
    const choice = choices[at % choices.length]!
    if (choice === 0 || /[\ud800-\udfff]/.test(unit)) {
      return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    }
    return choice === 1 && unit === '/' ? '\\/' : JSON.stringify(unit).slice(1, -1)
  })
  return `"${units.join('')}"`
}

async function ask(port: number, type: string, body: Bytes): Promise<Answer> {
  const wire = await Wire.open(port)
  wire.say(post(type, body))
  assert.ok(await wire.until(() => wire.answers().length > 0, 10_000), 'it is answered')
  wire.socket.destroy()
  return wire.answers()[0]!
}

test('valid texts at random are in both lists byte for byte, however they were sent', async (context) => {
  const system = await System.start(context)
  const unharmed = await Unharmed.before(system, ['old'])
  const choices = fc.array(fc.nat(2), { minLength: 1, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(validText, choices, async (text, spelling) => {
      const json = `{"text":${spelled(text, spelling)}}`
      unharmed.stores([text, text, text])
      assert.equal((await ask(system.port, TEXT, text)).status, 201)
      assert.equal((await ask(system.port, JSON_TYPE, json)).status, 201)
      const { body } = await ask(system.port, LINES, json)
      assert.doesNotMatch(body, /error/)
    }),
    { numRuns: RUNS },
  )
  await unharmed.assert()
})

test('bytes at random are stored as they are when they are UTF-8, and refused when they are not', async (context) => {
  const system = await System.start(context)
  const unharmed = await Unharmed.before(system, ['old'])
  const nearly = fc
    .tuple(validText, fc.nat(), fc.nat(255))
    .map(([text, at, byte]) =>
      bytes(text).fill(byte, at % Buffer.byteLength(text), (at % Buffer.byteLength(text)) + 1),
    )
  const any = fc.uint8Array({ minLength: 1, maxLength: 100 }).map((array) => Buffer.from(array))
  await fc.assert(
    fc.asyncProperty(fc.oneof(nearly, any), async (body) => {
      const isValid = isUtf8(body)
      if (isValid) unharmed.stores([body.toString()])
      assert.equal((await ask(system.port, TEXT, body)).status, isValid ? 201 : 400)
    }),
    { numRuns: RUNS },
  )
  await unharmed.assert()
})

test('code units at random are stored when they make characters, and refused when they do not', async (context) => {
  const system = await System.start(context)
  const unharmed = await Unharmed.before(system, ['old'])
  await fc.assert(
    fc.asyncProperty(fc.oneof(anyText, validText), async (text) => {
      if (text.isWellFormed()) unharmed.stores([text])
      const { status } = await ask(system.port, JSON_TYPE, `{"text":${spelled(text, [0])}}`)
      assert.equal(status, text.isWellFormed() ? 201 : 400)
    }),
    { numRuns: RUNS },
  )
  await unharmed.assert()
})

test('JSON at random that is no message is refused', async (context) => {
  const system = await System.start(context)
  const unharmed = await Unharmed.before(system, ['old'])
  const isMessage = (value: unknown) => {
    const { text, ...rest } = (value ?? {}) as { text?: unknown }
    return typeof text === 'string' && text !== '' && text.isWellFormed() && Object.keys(rest).length === 0
  }
  const key = fc.oneof(fc.constantFrom('text', '__proto__', 'constructor', 'length', ''), fc.string())
  const value = fc.oneof(fc.jsonValue(), fc.dictionary(key, fc.jsonValue()))
  await fc.assert(
    fc.asyncProperty(value, async (sent) => {
      const source = JSON.stringify(sent)
      const parsed: unknown = JSON.parse(source)
      fc.pre(!(Array.isArray(parsed) ? parsed.length > 0 && parsed.every(isMessage) : isMessage(parsed)))
      const answer = await ask(system.port, JSON_TYPE, source)
      assert.equal(answer.status, 400, source)
    }),
    { numRuns: RUNS },
  )
  await unharmed.assert()
})
