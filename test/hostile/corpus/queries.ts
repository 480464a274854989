/** Query parameters. */
import { bytes, type Case, get, head, JSON_TYPE, LINES, post, refused, taken } from '../case.ts'

const BAD = 'MR_REQUEST_INVALID'

/** No whole numbers; each is tried as every number there is. */
const NOT_NUMBERS: readonly string[] = [
  '',
  '-1',
  '+5',
  '%2B5',
  '1e3',
  '0x10',
  '0b1',
  '1.0',
  '1,000',
  '1_000',
  '%205',
  '5%20',
  '5%0a',
  '5%00',
  'NaN',
  'Infinity',
  'null',
  'undefined',
  'true',
  '[]',
  '%D9%A1',
  '99999',
  '9999999999',
  '9'.repeat(400),
  '%zz',
  '%',
  '5;DROP',
]
const NUMBERS: readonly string[] = [
  '/messages?limit=',
  '/log?limit=',
  '/actors/messages-1/messages?limit=',
  '/dead?limit=',
]

const QUERIES_OF_ALL: readonly string[] = [
  'x',
  '=',
  '=1',
  'Limit=1',
  'limit[]=1',
  'limit%00=1',
  '%6cimits=1',
  '__proto__=1',
  'constructor=1',
  'toString',
  'token=secret',
  'x'.repeat(9000),
  `${'a=1&'.repeat(2000)}`,
]

const BAD_CURSORS: readonly string[] = [
  '',
  'a',
  '0'.repeat(25),
  '0'.repeat(27),
  'l'.repeat(26),
  '%00'.repeat(26),
  '8'.repeat(26),
  "'",
  '*',
]

/** The cases. */
export const QUERIES: readonly Case[] = [
  ...NUMBERS.flatMap((path) =>
    [...NOT_NUMBERS, '0', '10001'].map((value) =>
      refused(`${path}${value.slice(0, 20)}`, 400, BAD, get(path + value)),
    ),
  ),
  ...['-1', '31', '1.5', '1e1', ''].map((value) =>
    refused(
      `a wait of "${value}" seconds`,
      400,
      BAD,
      get(`/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV?wait=${value}`),
    ),
  ),
  ...['/messages', '/log', '/actors', '/livez', '/readyz'].flatMap((path) =>
    QUERIES_OF_ALL.map((query) =>
      refused(`${path}?${query.slice(0, 20)}`, 400, BAD, get(`${path}?${query}`)),
    ),
  ),
  ...['/log?before=', '/log?after=', '/actors/messages-1/messages?before=', '/dead?after='].flatMap((path) =>
    BAD_CURSORS.map((cursor) => refused(`${path}${cursor}`, 400, BAD, get(path + cursor))),
  ),
  refused('a limit twice', 400, BAD, get('/log?limit=1&limit=1')),
  refused('a limit twice, once escaped', 400, BAD, get('/log?limit=1&%6cimit=2')),
  refused('before and after', 400, BAD, get(`/log?before=${'0'.repeat(26)}&after=${'0'.repeat(26)}`)),
  refused('a fragment that reached us', 400, BAD, get('/log?limit=1#top')),
  refused('a second question mark', 400, BAD, get('/log?limit=1?')),
  refused(
    'a query of a scaling',
    400,
    BAD,
    bytes(
      head('PUT /actors/logging?count=5 HTTP/1.1', [
        ['Content-Type', JSON_TYPE],
        ['Content-Length', '11'],
      ]),
      '{"count":3}',
    ),
  ),
  refused(
    'acks with JSON',
    400,
    BAD,
    bytes(
      head('POST /messages?acks=errors HTTP/1.1', [
        ['Content-Type', JSON_TYPE],
        ['Content-Length', '12'],
      ]),
      '{"text":"a"}',
    ),
  ),
  ...['all', '', 'errors,all', 'ERRORS'].map((acks) =>
    refused(
      `acks=${acks}`,
      400,
      BAD,
      bytes(
        head(`POST /messages?acks=${acks} HTTP/1.1`, [
          ['Content-Type', LINES],
          ['Content-Length', '13'],
        ]),
        '{"text":"a"}\n',
      ),
    ),
  ),
  refused(
    'a post with an unknown parameter',
    400,
    BAD,
    bytes(post(JSON_TYPE, '{"text":"a"}').toString().replace('/messages', '/messages?dry-run=true')),
  ),
  taken('an escaped limit', 200, get('/log?%6cimit=%31')),
]
