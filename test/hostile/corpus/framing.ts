/** Where a request ends, and what is hidden behind it: smuggling, chunks, versions, other protocols. */
import { bytes, type Case, framed, get, head, post, refused, TEXT, taken } from '../case.ts'

const BAD = 'MR_REQUEST_INVALID'
const SMUGGLED = post(TEXT, 'smuggled')
const CHUNKED = ['Transfer-Encoding', 'chunked'] as const
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** Framing headers that two readers may understand differently; behind each waits a request of its own. */
const AMBIGUOUS: readonly (readonly [what: string, headers: Parameters<typeof framed>[0], body: string])[] = [
  ['a length and chunks', [['Content-Length', '5'], CHUNKED], '0\r\n\r\n'],
  ['chunks and a length', [CHUNKED, ['Content-Length', '5']], '0\r\n\r\n'],
  ['a length of nothing and chunks', [['Content-Length', '0'], CHUNKED], '0\r\n\r\n'],
  [
    'two lengths',
    [
      ['Content-Length', '1'],
      ['Content-Length', '2'],
    ],
    'a',
  ],
  [
    'two lengths, both the same',
    [
      ['Content-Length', '1'],
      ['Content-Length', '1'],
    ],
    'a',
  ],
  ['two lengths in one header', [['Content-Length', '1, 1']], 'a'],
  ['a negative length', [['Content-Length', '-1']], ''],
  ['a length with a plus', [['Content-Length', '+1']], 'a'],
  ['a length in hexadecimal', [['Content-Length', '0x1']], 'a'],
  ['a length with an exponent', [['Content-Length', '1e0']], 'a'],
  ['a length with a point', [['Content-Length', '1.0']], 'a'],
  ['a length with a space in it', [['Content-Length', '1 0']], 'a'],
  ['a length of no digits', [['Content-Length', '']], ''],
  ['a length in other digits', [['Content-Length', '١']], 'a'],
  ['a length beyond all integers', [['Content-Length', '99999999999999999999999']], 'a'],
  ['a length that wraps round to one', [['Content-Length', '18446744073709551617']], 'a'],
  ['an encoding that is not chunks', [['Transfer-Encoding', 'identity']], 'a'],
  ['gzip as transfer encoding', [['Transfer-Encoding', 'gzip']], 'a'],
  ['chunks that are not last', [['Transfer-Encoding', 'chunked, identity']], chunk('a')],
  ['chunks misspelled', [['Transfer-Encoding', 'xchunked']], chunk('a')],
  ['chunks in quotes', [['Transfer-Encoding', '"chunked"']], chunk('a')],
  ['chunks twice', [['Transfer-Encoding', 'chunked, chunked']], chunk('a')],
  [
    'chunks, then another encoding in a header of its own',
    [CHUNKED, ['Transfer-Encoding', 'identity']],
    '0\r\n\r\n',
  ],
  ['chunks behind a vertical tab', [['Transfer-Encoding', '\x0bchunked']], chunk('a')],
  ['a chunk size that is none', [CHUNKED], 'zz\r\n'],
  ['a negative chunk size', [CHUNKED], '-1\r\na\r\n'],
  ['a chunk size in 0x', [CHUNKED], '0x1\r\na\r\n'],
  ['a chunk size beyond all integers', [CHUNKED], 'fffffffffffffffff\r\na\r\n'],
  ['an empty chunk size', [CHUNKED], '\r\na\r\n'],
  ['a chunk size with a space before it', [CHUNKED], ' 1\r\na\r\n'],
  ['a chunk longer than its size', [CHUNKED], '1\r\nab\r\n0\r\n\r\n'],
  ['a chunk size ended by a bare CR', [CHUNKED], '1\ra\r\n0\r\n\r\n'],
  ['a chunk size ended by a bare LF', [CHUNKED], '1\na\r\n0\r\n\r\n'],
  ['a chunk ended by a bare LF', [CHUNKED], '1\r\na\n0\r\n\r\n'],
  ['an extension of a chunk ended by a bare LF', [CHUNKED], '1;a=b\na\r\n0\r\n\r\n'],
  ['an extension of a chunk with a NUL', [CHUNKED], '1;a=\0\r\na\r\n0\r\n\r\n'],
  ['an extension of a chunk with a bare CR', [CHUNKED], '1;a=b\rc\r\na\r\n0\r\n\r\n'],
  ['a folded trailer', [CHUNKED], '1\r\na\r\n0\r\nX-A: a\r\n b\r\n\r\n'],
  ['a NUL in a trailer', [CHUNKED], '1\r\na\r\n0\r\nX-A: \0\r\n\r\n'],
]

/** What is not HTTP/1.1. */
const OTHER: readonly (readonly [what: string, says: string | Buffer])[] = [
  ['HTTP/0.9', 'GET /livez\r\n\r\n'],
  ["HTTP/2's preface", 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['HTTP/2.0', 'GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n'],
  ['HTTP/3', 'GET /livez HTTP/3\r\nHost: localhost\r\n\r\n'],
  ['HTTP/1.2', 'GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n'],
  ['HTTP/1.10', 'GET /livez HTTP/1.10\r\nHost: localhost\r\n\r\n'],
  ['HTTP/9.9', 'GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n'],
  ['http in small letters', 'GET /livez http/1.1\r\nHost: localhost\r\n\r\n'],
  ['a version that is none', 'GET /livez HTTP/x.y\r\nHost: localhost\r\n\r\n'],
  ['another protocol', 'GET /livez FTP/1.0\r\nHost: localhost\r\n\r\n'],
  ['a status line', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['TLS', Buffer.from('16030100a5010000a10303', 'hex')],
  ['SSH', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ['SMTP', 'EHLO evil.example\r\nMAIL FROM:<a@evil.example>\r\n'],
  ['Redis', '*1\r\n$4\r\nPING\r\n'],
  ['a SOCKS greeting', Buffer.from('050100', 'hex')],
  ['a PROXY line', 'PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /livez HTTP/1.1\r\n\r\n'],
  ['bytes at random', Buffer.from(Array.from({ length: 999 }, (_, n) => (n * 167 + 128) % 256))],
  ['a method in small letters', 'get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['a method nobody knows', 'BREW /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['a method of 20,000 letters', `${'G'.repeat(20_000)} / HTTP/1.1\r\nHost: localhost\r\n\r\n`],
  ['no method', ' /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['a method in brackets', '<GET> /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['no target', 'GET HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['a tab for a space', 'GET\t/livez\tHTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ['something behind the version', 'GET /livez HTTP/1.1 x\r\nHost: localhost\r\n\r\n'],
  ['bare CRs for line breaks', 'GET /livez HTTP/1.1\rHost: localhost\r\r'],
  ['bare LFs for line breaks', 'GET /livez HTTP/1.1\nHost: localhost\n\n'],
]

/** The cases. */
export const FRAMING: readonly Case[] = [
  ...AMBIGUOUS.map(([what, headers, body]) =>
    refused(`${what}, with a request behind`, 400, BAD, framed(headers, bytes(body, SMUGGLED))),
  ),
  ...OTHER.map(([what, says]) => refused(`${what}`, 400, BAD, bytes(says))),
  refused(
    'an extension of a chunk of 20,000 bytes',
    413,
    'MR_TOO_LARGE',
    framed([CHUNKED], `1;${'e'.repeat(20_000)}\r\na\r\n0\r\n\r\n`),
  ),
  taken(
    'ten thousand chunks, each with an extension',
    201,
    framed([CHUNKED], `${'1;a=b\r\na\r\n'.repeat(10_000)}0\r\n\r\n`),
    ['a'.repeat(10_000)],
  ),
  refused(
    'trailers of 20,000 bytes',
    431,
    'MR_HEAD_TOO_LARGE',
    framed([CHUNKED], `1\r\na\r\n0\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`),
  ),
  taken(
    'a trailer that would be a header',
    201,
    framed([CHUNKED], `${chunk('with a trailer')}0\r\nAuthorization: Bearer x\r\nHost: evil.example\r\n\r\n`),
    ['with a trailer'],
  ),
  taken('a chunk with an extension', 201, framed([CHUNKED], '8;a="b"\r\nextended\r\n0\r\n\r\n'), [
    'extended',
  ]),
  taken('a chunk size with zeros in front', 201, framed([CHUNKED], '0005\r\nzeros\r\n0\r\n\r\n'), ['zeros']),
  taken('a length with zeros in front', 201, framed([['Content-Length', '0006']], 'length'), ['length']),
  {
    name: 'two posts in one breath',
    says: bytes(post(TEXT, 'first breath'), post(TEXT, 'second breath')),
    answers: [201, 201],
    stores: ['first breath', 'second breath'],
  },
  {
    name: 'a post, and rubbish behind it',
    says: bytes(post(TEXT, 'before rubbish'), 'rubbish\r\n\r\n'),
    answers: [201, 400],
    code: BAD,
    stores: ['before rubbish'],
  },
  {
    name: 'a post, and one with a bad chunk behind it',
    says: bytes(post(TEXT, 'before a bad chunk'), framed([CHUNKED], 'zz\r\n')),
    answers: [201, 400],
    code: BAD,
    stores: ['before a bad chunk'],
  },
  {
    name: 'a hundred requests in one breath',
    says: bytes(...Array.from({ length: 100 }, () => get('/livez'))),
    answers: Array(100).fill(200),
  },
  refused(
    'a body on GET, a request',
    400,
    BAD,
    bytes(get('/log', [['Content-Length', String(SMUGGLED.length)]]), SMUGGLED),
  ),
  refused(
    'a body on DELETE',
    400,
    BAD,
    bytes(head('DELETE /dead/01ARZ3NDEKTSV4RRFFQ69G5FAV HTTP/1.1', [['Content-Length', '1']]), 'a'),
  ),
  refused('a chunked body on GET', 400, BAD, bytes(get('/log', [CHUNKED]), chunk('a'), '0\r\n\r\n')),
  refused(
    'CONNECT',
    405,
    'MR_METHOD_UNSUPPORTED',
    bytes('CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n', SMUGGLED),
  ),
  taken('HTTP/1.0 without a Host', 200, bytes('GET /livez HTTP/1.0\r\n\r\n')),
  taken('empty lines before a request', 200, bytes('\r\n\r\n', get('/livez'))),
]
