/** Bytes that are not UTF-8, in every type of body; and UTF-8 that looks wrong and is not. */
import { bytes, type Case, JSON_TYPE, LINES, post, refused, TEXT, taken } from '../case.ts'

const NOT_UTF8: readonly (readonly [why: string, hex: string])[] = [
  ['a lone continuation byte', '80'],
  ['the last continuation byte, alone', 'bf'],
  ['a two-byte sequence cut short', 'c3'],
  ['a three-byte sequence cut short', 'e282'],
  ['a four-byte sequence cut short', 'f09f98'],
  ['a sequence broken by ASCII', 'e28241'],
  ['an overlong slash', 'c0af'],
  ['an overlong NUL', 'c080'],
  ['an overlong slash in three bytes', 'e080af'],
  ['an overlong slash in four bytes', 'f08080af'],
  ['a high surrogate in three bytes', 'eda080'],
  ['a low surrogate in three bytes', 'edbfbf'],
  ['a surrogate pair as CESU-8', 'eda0bdedb880'],
  ['a character beyond U+10FFFF', 'f4908080'],
  ['a five-byte sequence', 'f888808080'],
  ['a six-byte sequence', 'fc8480808080'],
  ['the byte FE', 'fe'],
  ['the byte FF', 'ff'],
  ['an é in Latin-1', 'e9'],
  ['a quotation mark in Windows-1252', '93'],
  ['UTF-16, little end first', 'fffe68006900'],
  ['UTF-16, big end first', 'feff00680069'],
  ['text in GB18030', 'c4e3bac3'],
  ['text in Shift JIS', '82b182f1'],
]

/** Valid, every one, and to come back as it went in. */
const VALID: readonly (readonly [what: string, text: string])[] = [
  ['a NUL', 'before\0after'],
  ['nothing but a NUL', '\0'],
  ['a byte order mark in front', '\uFEFFbom'],
  ['nothing but a byte order mark', '\uFEFF'],
  ['a byte order mark in the middle', 'mid\uFEFFdle'],
  ['every ASCII control character', String.fromCharCode(...Array.from({ length: 32 }, (_, code) => code))],
  ['DEL and the C1 controls', '\x7F\x80\x85\x9F'],
  ['the noncharacters U+FFFE and U+FFFF', '\uFFFE\uFFFF'],
  ['the replacement character', '\uFFFD'],
  ['the last character there is', '\u{10FFFF}'],
  ['a private character', '\u{F0000}'],
  ['text that runs from right to left', '\u202Eevil\u202C'],
  ['the line separators of Unicode', 'a\u2028b\u2029c'],
  ['a hundred combining marks', `a${'\u0301'.repeat(100)}`],
  ['a family of emoji', '👩‍👩‍👧‍👦'],
  ['a text that is not normalized', 'e\u0301 \u00E9 \u212B'],
  ['line breaks of every kind', 'a\rb\nc\r\nd'],
  ['script', '<script>alert(document.cookie)</script>'],
  ['script out of a closing tag', '</script><img src=x onerror=alert(1)>'],
  ['a terminal escape', '\x1B[2J\x1B]0;owned\x07'],
  ['a header in a text', 'x\r\nSet-Cookie: a=b\r\n\r\nbody'],
  ['an event in a text', 'data: x\n\nevent: dead\ndata: {}\n\n'],
  ['SQL', `'); DROP TABLE log; --`],
  ['a format string', '%s%n%x {0} $' + '{jndi:ldap://127.0.0.1/a}'],
  ['spaces only', '   '],
  ['a line break only', '\n'],
  ['text that is JSON', '{"text":"inner"}'],
  ['backslashes', '\\\\u0000\\"'],
]

const escaped = (text: string) =>
  `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`

/** The cases. */
export const ENCODINGS: readonly Case[] = [
  ...NOT_UTF8.flatMap(([why, hex]) => {
    const bad = Buffer.from(hex, 'hex')
    return [
      refused(`${why}, as a text`, 400, 'MR_MESSAGE_INVALID', post(TEXT, bytes('a', bad, 'b'))),
      refused(`${why}, in JSON`, 400, 'MR_MESSAGE_INVALID', post(JSON_TYPE, bytes('{"text":"a', bad, 'b"}'))),
      {
        name: `${why}, in the middle of a stream of lines`,
        says: post(
          LINES,
          bytes(`{"text":"before ${hex}"}\n{"text":"`, bad, `b"}\n{"text":"after ${hex}"}\n`),
        ),
        answers: [200],
        lines: ['stored', 'MR_MESSAGE_INVALID', 'stored'],
        stores: [`before ${hex}`, `after ${hex}`],
      },
    ]
  }),
  ...VALID.flatMap(([what, text]) => [
    taken(`${what}, as a text`, 201, post(TEXT, text), [text]),
    taken(`${what}, in JSON`, 201, post(JSON_TYPE, JSON.stringify({ text })), [text]),
    taken(`${what}, in JSON, all of it escaped`, 201, post(JSON_TYPE, `{"text":${escaped(text)}}`), [text]),
  ]),
]
