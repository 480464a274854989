/** Bodies of `PUT /actors/{role}`. */
import { bytes, type Case, head, JSON_TYPE, refused } from '../case.ts'

const INVALID: readonly string[] = [
  '',
  'null',
  '3',
  '{}',
  '[3]',
  '{"count":0}',
  '{"count":-1}',
  '{"count":65}',
  '{"count":1e400}',
  '{"count":1.5}',
  '{"count":"3"}',
  '{"count":null}',
  '{"count":[3]}',
  '{"count":true}',
  '{"count":3,"count":4}',
  '{"count":3,"force":true}',
  '{"count":3,"__proto__":{}}',
  '{"Count":3}',
  '{"count":3}x',
  '{"count":9007199254740993}',
  '['.repeat(500) + ']'.repeat(500),
  '\uFEFF{"count":3}',
]

const put = (role: string, type: string, body: string | Buffer) =>
  bytes(
    head(`PUT /actors/${role} HTTP/1.1`, [
      ['Content-Type', type],
      ['Content-Length', String(Buffer.byteLength(body))],
    ]),
    body,
  )

/** The cases. */
export const SCALINGS: readonly Case[] = [
  ...INVALID.map((body) =>
    refused(`a scaling to ${body.slice(0, 30)}`, 400, 'MR_REQUEST_INVALID', put('logging', JSON_TYPE, body)),
  ),
  refused('a scaling of 100,000 bytes', 413, 'MR_TOO_LARGE', put('logging', JSON_TYPE, ' '.repeat(100_000))),
  refused(
    'a scaling in bytes that are not UTF-8',
    400,
    'MR_REQUEST_INVALID',
    put('logging', JSON_TYPE, Buffer.from('7b22636f756e74ff223a337d', 'hex')),
  ),
  refused(
    'a scaling in a form',
    415,
    'MR_TYPE_UNSUPPORTED',
    put('logging', 'application/x-www-form-urlencoded', 'count=3'),
  ),
  ...['primary', '__proto__', 'constructor', 'Logging', 'logging%00', '..'].map((role) =>
    refused(`a scaling of the role ${role}`, 404, 'MR_NOT_FOUND', put(role, JSON_TYPE, '{"count":3}')),
  ),
  refused(
    'more messages actors than lanes',
    409,
    'MR_SCALE_REFUSED',
    put('messages', JSON_TYPE, '{"count":17}'),
  ),
]
