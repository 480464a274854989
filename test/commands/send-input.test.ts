/** Lines of a file, whatever bytes they are, however they arrive. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { splitLines, wholeOf } from '../../src/commands/send-input.ts'

async function* chunksOf(bytes: Buffer, sizes: readonly number[] = [bytes.length]): AsyncGenerator<Buffer> {
  let from = 0
  for (let turn = 0; from < bytes.length; turn++) {
    const size = Math.max(1, sizes[turn % sizes.length] ?? 1)
    yield bytes.subarray(from, from + size)
    from += size
  }
}

/** All lines, and the error that ended them. */
async function linesOf(
  input: string | Buffer,
  { skipEmpty = false, sizes }: { skipEmpty?: boolean; sizes?: number[] } = {},
) {
  const lines: { text: string; number: number; readBytes: number }[] = []
  try {
    for await (const some of splitLines(chunksOf(Buffer.from(input as string), sizes), { skipEmpty }))
      lines.push(...some)
    return { lines, texts: lines.map(({ text }) => text), error: undefined }
  } catch (error) {
    return { lines, texts: lines.map(({ text }) => text), error: error as Error & { code: string } }
  }
}

test('a line is the bytes before its line feed, unchanged', async () => {
  assert.deepEqual((await linesOf('a\r\n b \t\nc')).texts, ['a\r', ' b \t', 'c'])
  assert.deepEqual((await linesOf('\ufeffa\n\u0000\n\u2028\n')).texts, ['\ufeffa', '\u0000', '\u2028'])
  assert.deepEqual((await linesOf('')).texts, [])
})

test('lines are the same however the chunks are cut', async () => {
  const line = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 20 })
    .map((text) => text.replaceAll('\n', ' '))
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat(7), { minLength: 1 }), async (texts, sizes) => {
      const input = texts.map((text) => `${text}\n`).join('')
      const { lines } = await linesOf(input, { sizes })
      assert.deepEqual(
        lines.map(({ text }) => text),
        texts,
      )
      assert.deepEqual(
        lines.map(({ number }) => number),
        texts.map((_, index) => index + 1),
      )
      assert.equal(lines.at(-1)?.readBytes ?? 0, Buffer.byteLength(input))
    }),
  )
})

test('an empty line is refused with its number, or skipped and counted', async () => {
  const { texts, error } = await linesOf('a\n\nb\n')
  assert.deepEqual(texts, ['a'])
  assert.equal(error?.code, 'MR_MESSAGE_INVALID')
  assert.match(error!.message, /line 2 .*--skip-empty/)
  const { lines } = await linesOf('\na\n\n\nb\n\n', { skipEmpty: true })
  assert.deepEqual(
    lines.map(({ text, number }) => [number, text]),
    [
      [2, 'a'],
      [5, 'b'],
    ],
  )
})

test('a line that is not UTF-8 is refused with its number, after all lines before it', async () => {
  for (const bad of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
    const { texts, error } = await linesOf(
      Buffer.concat([Buffer.from('ok\n'), Buffer.from(bad), Buffer.from('\nx')]),
    )
    assert.deepEqual(texts, ['ok'])
    assert.match(error!.message, /line 2 to be UTF-8/)
  }
})

test('a line of more than any node takes is refused without reading on', async () => {
  const most = 25 * 1024 * 1024
  const full = 'é'.repeat(most / 2)
  const large = await linesOf(`${full}\n${full}`, { sizes: [65_536] })
  assert.ok(large.texts.length === 2 && large.texts.every((text) => text === full))
  const over = await linesOf(`ok\n${full}x\nlater`)
  assert.deepEqual([over.texts, over.error?.code], [['ok'], 'MR_TOO_LARGE'])
  assert.match(over.error!.message, /line 2 is larger than 26214400 bytes/)
  let taken = 0
  async function* endless() {
    for (;;) {
      taken++
      yield Buffer.alloc(1_000_000, 'x')
    }
  }
  await assert.rejects(
    async () => {
      for await (const _ of splitLines(endless(), { skipEmpty: false }));
    },
    { code: 'MR_TOO_LARGE' },
  )
  await assert.rejects(wholeOf(endless()), { code: 'MR_TOO_LARGE' })
  assert.ok(taken < 60)
})

test('lines are yielded as soon as they are read', async () => {
  async function* slow() {
    yield Buffer.from('first\nsec')
    await new Promise(() => {})
  }
  const lines = splitLines(slow(), { skipEmpty: false })
  assert.deepEqual(
    (await lines.next()).value?.map(({ text }: { text: string }) => text),
    ['first'],
  )
})

test('with whole, the input is one text, with its line feeds', async () => {
  assert.equal(await wholeOf(chunksOf(Buffer.from('a\r\n\nbé\n'), [1])), 'a\r\n\nbé\n')
  await assert.rejects(wholeOf(chunksOf(Buffer.alloc(0))), { code: 'MR_MESSAGE_INVALID' })
  await assert.rejects(wholeOf(chunksOf(Buffer.from([0x80]))), { code: 'MR_MESSAGE_INVALID' })
})
