/** Streams of lines: a line that is wrong refuses itself and nothing else. */
import { type Bytes, bytes, type Case, LINES, post } from '../case.ts'

const BAD = 'MR_MESSAGE_INVALID'
const DEEP = 10_000

/** Lines that are no messages; each is sent between two that are. */
const INVALID: readonly (readonly [what: string, code: string, line: Bytes])[] = [
  ['a line of spaces', BAD, '   '],
  ['a line of a NUL', BAD, '\0'],
  ['rubbish', BAD, 'rubbish'],
  ['a line cut short', BAD, '{"text":"a'],
  ['two messages in a line', BAD, '{"text":"a"}{"text":"b"}'],
  ['a batch', BAD, '[{"text":"a"}]'],
  ['a number', BAD, '1e400'],
  ['a null', BAD, 'null'],
  ['a duplicate key', BAD, '{"text":"a","text":"b"}'],
  ['an unknown field', BAD, '{"text":"a","key":"b"}'],
  ['__proto__', BAD, '{"__proto__":{"text":"a"}}'],
  ['an empty text', BAD, '{"text":""}'],
  ['a lone surrogate', BAD, '{"text":"\\udc00"}'],
  ['a byte order mark', BAD, '\uFEFF{"text":"a"}'],
  ['a bare CR for a line break', BAD, '{"text":"a"}\r{"text":"b"}'],
  ['a server-sent event', BAD, 'data: {"text":"a"}'],
  ['a line of gzip', BAD, Buffer.from('1f8b0800000000000003', 'hex')],
  ['arrays nested deep', BAD, '['.repeat(DEEP) + ']'.repeat(DEEP)],
  ['objects nested deep', BAD, `${'{"text":'.repeat(DEEP)}1${'}'.repeat(DEEP)}`],
  ['a text too long', 'MR_TOO_LARGE', `{"text":"${'x'.repeat(1_048_577)}"}`],
  ['a line too long', 'MR_TOO_LARGE', `{"text":"${'x'.repeat(2_200_000)}"}`],
  ['a line of 5 MB', 'MR_TOO_LARGE', 'x'.repeat(5_000_000)],
]

/** The cases. */
export const STREAMS: readonly Case[] = [
  ...INVALID.map(([what, code, line]) => ({
    name: `${what}, in the middle of a stream of lines`,
    says: post(LINES, bytes(`{"text":"before ${what}"}\n`, line, `\n{"text":"after ${what}"}\n`)),
    answers: [200],
    lines: ['stored', code, 'stored'],
    stores: [`before ${what}`, `after ${what}`],
  })),
  {
    name: 'a stream of 50,000 bad lines',
    says: post(LINES, '{}\n'.repeat(50_000)),
    answers: [200],
    lines: Array(50_000).fill(BAD),
  },
  {
    name: 'a stream of a million line breaks, all in one line of spaces',
    says: post(LINES, `${' '.repeat(400_000)}\n`),
    answers: [200],
    lines: [BAD],
  },
  { name: 'a stream of nothing', says: post(LINES, ''), answers: [200], lines: [] },
  {
    name: 'a stream whose last line is cut short',
    says: post(LINES, '{"text":"whole line"}\n{"text":"half a'),
    answers: [200],
    lines: ['stored', BAD],
    stores: ['whole line'],
  },
]
