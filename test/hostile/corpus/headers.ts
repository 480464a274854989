/** Headers: types, encodings, hosts, keys, numbers and bytes that do not belong there. */
import {
  bytes,
  type Case,
  get,
  type Headers,
  head,
  JSON_TYPE,
  LINES,
  post,
  refused,
  TEXT,
  taken,
} from '../case.ts'

const BAD = 'MR_REQUEST_INVALID'
const JSON_TEXT = '{"text":"a"}'

const TYPES: readonly (readonly [what: string, type: string | undefined])[] = [
  ['no type', undefined],
  ['an empty type', ''],
  ['HTML', 'text/html'],
  ['XML', 'application/xml'],
  ['a form', 'application/x-www-form-urlencoded'],
  ['a form of many parts', 'multipart/form-data; boundary=x'],
  ['bytes', 'application/octet-stream'],
  ['any type', '*/*'],
  ['a type that begins like JSON', 'application/jsonx'],
  ['a type that ends like JSON', 'application/problem+json'],
  ['JSON without a slash', 'json'],
  ['two types in one', 'application/json, text/plain'],
  ['JSON in Latin-1', 'application/json; charset=latin1'],
  ['a text in UTF-7', 'text/plain; charset=utf-7'],
  ['a text in UTF-16', 'text/plain; charset="utf-16"'],
  ['two charsets, the second wrong', 'text/plain; charset=utf-8; charset=latin1'],
  ['an empty charset', 'text/plain; charset='],
  ['__proto__ as a type', '__proto__'],
]

const ENCODINGS: readonly string[] = ['gzip', 'br', 'deflate', 'zstd', 'identity', 'gzip, gzip', 'x-évil', '']

const KEYS: readonly (readonly [what: string, key: string])[] = [
  ['an empty key', ''],
  ['a key of 256 characters', 'k'.repeat(256)],
  ['a key of 10,000 characters', 'k'.repeat(10_000)],
  ['a key with a space', 'kkkkkkkk kkkkkkkk'],
  ['a key with an é', 'kkkkkkkkkkkkkkké'],
  ['a key with a tab', 'kkkkkkkk\tkkkkkkkk'],
  ['an empty key in quotes', '""'],
  ['a quote', '"'],
  ['a key in quotes that do not end', '"kkkk'],
  ['a key in quotes with a quote', '"kk"kk"'],
  ['a key in quotes with a backslash before a letter', '"kk\\nkk"'],
  ['a key in quotes with a space', '"kk kk"'],
  ['two keys in quotes', '"kk", "kk"'],
  ['a key in quotes with a parameter', '"kk";a=b'],
]

const HOSTS: readonly (readonly [what: string, status: number, host: Bytes])[] = [
  ['another site', 403, 'evil.example'],
  ['another site with our port', 403, 'evil.example:8080'],
  ['a site whose name begins with localhost', 403, 'localhost.evil.example'],
  ['a site whose name begins with our address', 403, '127.0.0.1.evil.example'],
  ['an address with too many parts', 403, '127.0.0.1.1'],
  ['our address as one number', 403, '2130706433'],
  ['our address in hexadecimal', 403, '0x7f000001'],
  ['a name that ends in a dot', 403, 'evil.example.'],
  ['an empty host', 403, ''],
  ['a user and a host', 400, 'localhost@evil.example'],
  ['a host and a path', 400, 'localhost/evil'],
  ['two hosts in one', 400, 'localhost, evil.example'],
  ['two hosts with a space', 400, 'localhost evil.example'],
  ['a host with a percent escape', 400, 'local%68ost'],
  ['a host in quotes', 400, '"localhost"'],
  ['a host with an é', 400, 'localhosté'],
]
type Bytes = string

const BROKEN: readonly (readonly [what: string, line: string | Buffer])[] = [
  ['a bare CR in a value', 'X-A: a\rX-B: b'],
  ['a NUL in a value', 'X-A: a\0b'],
  ['a NUL in a name', 'X\0A: b'],
  ['a bell in a name', 'X\x07A: b'],
  ['a DEL in a value', 'X-A: a\x7Fb'],
  ['a control character in a value', 'X-A: a\x01b'],
  ['a folded line', 'X-A: a\r\n folded'],
  ['a line folded by a tab', 'X-A: a\r\n\tfolded'],
  ['a space before the colon', 'X-A : b'],
  ['a tab before the colon', 'X-A\t: b'],
  ['a space in front', ' X-A: b'],
  ['a line without a colon', 'X-A'],
  ['an empty name', ': b'],
  ['a name in parentheses', 'X(A): b'],
  ['a name with a slash', 'X/A: b'],
  ['a name with an é', Buffer.from('X-é: b')],
  ['a name with an é in Latin-1', Buffer.from('X-\xe9: b', 'latin1')],
  ['a name in brackets', '[X]: b'],
  ['a second request line', 'GET /livez HTTP/1.1'],
]

const many = (count: number): Headers => Array.from({ length: count }, (_, n) => [`X-${n}`, 'v'] as const)

/** The cases. */
export const HEADERS: readonly Case[] = [
  ...TYPES.map(([what, type]) =>
    refused(`a post of ${what}`, 415, 'MR_TYPE_UNSUPPORTED', post(type, JSON_TEXT)),
  ),
  refused(
    'two Content-Types',
    415,
    'MR_TYPE_UNSUPPORTED',
    post(JSON_TYPE, JSON_TEXT, [['Content-Type', TEXT]]),
  ),
  taken('a type in capitals', 201, post('TEXT/PLAIN; CHARSET="UTF-8"', 'shouted'), ['shouted']),
  taken('a type with another parameter', 201, post('text/plain; format=flowed', 'flowed'), ['flowed']),
  ...[TEXT, JSON_TYPE, LINES].flatMap((type) =>
    ENCODINGS.map((encoding) =>
      refused(
        `the Content-Encoding "${encoding}" of ${type}`,
        415,
        'MR_TYPE_UNSUPPORTED',
        post(type, JSON_TEXT, [['Content-Encoding', encoding]]),
      ),
    ),
  ),
  ...KEYS.map(([what, key]) =>
    refused(`${what} as Idempotency-Key`, 400, BAD, post(TEXT, 'a', [['Idempotency-Key', key]])),
  ),
  refused(
    'the same Idempotency-Key twice',
    400,
    BAD,
    post(TEXT, 'a', [
      ['Idempotency-Key', 'k'.repeat(16)],
      ['Idempotency-Key', 'k'.repeat(16)],
    ]),
  ),
  refused(
    'an Idempotency-Key for a stream of lines',
    400,
    BAD,
    post(LINES, `${JSON_TEXT}\n`, [['Idempotency-Key', 'k'.repeat(16)]]),
  ),
  ...HOSTS.map(([what, status, host]) =>
    refused(
      `${what} as Host`,
      status,
      status === 403 ? 'MR_HOST_FORBIDDEN' : BAD,
      post(TEXT, 'a', [['Host', host]]),
    ),
  ),
  refused('no Host', 400, BAD, bytes('GET /log HTTP/1.1\r\n\r\n')),
  refused(
    'two Hosts',
    400,
    BAD,
    get('/livez', [
      ['Host', 'localhost'],
      ['Host', 'localhost'],
    ]),
  ),
  refused(
    'two Hosts, the second of another site',
    400,
    BAD,
    post(TEXT, 'a', [
      ['Host', 'localhost'],
      ['Host', 'evil.example'],
    ]),
  ),
  taken('localhost in capitals', 200, get('/livez', [['Host', 'LOCALHOST:1']])),
  taken('an IPv6 address as Host', 200, get('/livez', [['Host', '[::1]:8080']])),
  ...BROKEN.map(([what, line]) =>
    refused(
      `${what} of a header`,
      400,
      BAD,
      bytes('GET /livez HTTP/1.1\r\nHost: localhost\r\n', line, '\r\n\r\n'),
    ),
  ),
  refused('101 headers', 400, BAD, get('/livez', many(100))),
  taken('100 headers', 200, get('/livez', many(99))),
  refused('3,000 headers of one letter', 400, BAD, head('GET /livez HTTP/1.1', Array(3000).fill(['a', '']))),
  refused('3,000 headers', 431, 'MR_HEAD_TOO_LARGE', get('/livez', many(3000))),
  refused('a header of 20,000 bytes', 431, 'MR_HEAD_TOO_LARGE', get('/livez', [['X-A', 'a'.repeat(20_000)]])),
  refused(
    'a header whose name has 20,000 bytes',
    431,
    'MR_HEAD_TOO_LARGE',
    get('/livez', [['a'.repeat(20_000), '']]),
  ),
  refused('a cookie of 1 MB', 431, 'MR_HEAD_TOO_LARGE', get('/livez', [['Cookie', 'c'.repeat(1_000_000)]])),
  ...['a miracle', '100-continue, a miracle', '', '200-ok'].map((expected) =>
    refused(`the expectation "${expected}"`, 400, BAD, post(TEXT, 'a', [['Expect', expected]])),
  ),
  refused(
    'an expectation, twice',
    400,
    BAD,
    post(TEXT, 'a', [
      ['Expect', '100-continue'],
      ['Expect', '100-continue'],
    ]),
  ),
  refused(
    'a page of another site',
    403,
    'MR_FORBIDDEN',
    post(TEXT, 'a', [
      ['Origin', 'https://evil.example'],
      ['Sec-Fetch-Site', 'cross-site'],
    ]),
  ),
  taken('a request id with an injected header', 200, get('/livez', [['X-Request-Id', 'a%0d%0aX: b']])),
  taken(
    'a wish to become a WebSocket',
    200,
    get('/livez', [
      ['Connection', 'Upgrade'],
      ['Upgrade', 'websocket'],
    ]),
  ),
  taken(
    'a wish to become HTTP/2',
    200,
    get('/livez', [
      ['Connection', 'Upgrade, HTTP2-Settings'],
      ['Upgrade', 'h2c'],
      ['HTTP2-Settings', 'AAMAAABk'],
    ]),
  ),
  taken(
    'headers that forge where it came from',
    200,
    get('/livez', [
      ['X-Forwarded-Host', 'evil.example'],
      ['X-Forwarded-For', '1.1.1.1'],
      ['X-Original-URL', '/actors'],
      ['X-HTTP-Method-Override', 'DELETE'],
    ]),
  ),
  taken('a Range', 200, get('/livez', [['Range', `bytes=${'0-,'.repeat(1000)}`]])),
  taken(
    'an Accept of nothing we have',
    200,
    get('/livez', [
      ['Accept', 'image/png'],
      ['Accept-Encoding', '*;q=0'],
    ]),
  ),
]
