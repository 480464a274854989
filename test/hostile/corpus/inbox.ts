/**
 * Sources: every header that a scheme reads is missing, empty, there twice, ill-formed; times are old, ahead and no
 * times; bodies are another's. What is taken is taken byte for byte.
 */
import { createHmac } from 'node:crypto'
import { type Bytes, bytes, type Case, get, type Headers, head, refused, taken } from '../case.ts'

/** As the node of the corpus has it. */
export const INBOX_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

const NOW = Math.floor(Date.now() / 1000)

const hmac = (signed: Bytes, encoding: 'hex' | 'base64' = 'hex', key: Bytes = INBOX_SECRET) =>
  createHmac('sha256', key).update(signed).digest(encoding)
const standardKey = Buffer.from(INBOX_SECRET.slice('whsec_'.length), 'base64')

/** The right headers of a body, by source. */
const RIGHT: Record<string, (body: Bytes, time?: number) => Record<string, string>> = {
  github: (body) => ({ 'X-Hub-Signature-256': `sha256=${hmac(body)}`, 'X-GitHub-Delivery': hmac(body) }),
  gitlab: (body) => ({ 'X-Gitlab-Token': INBOX_SECRET, 'Idempotency-Key': hmac(body) }),
  stripe: (body, time = NOW) => ({
    'Stripe-Signature': `t=${time},v0=0,v1=${hmac(bytes(`${time}.`, body))}`,
  }),
  shopify: (body) => ({
    'X-Shopify-Hmac-Sha256': hmac(body, 'base64'),
    'X-Shopify-Webhook-Id': hmac(body),
  }),
  slack: (body, time = NOW) => ({
    'X-Slack-Signature': `v0=${hmac(bytes(`v0:${time}:`, body))}`,
    'X-Slack-Request-Timestamp': `${time}`,
  }),
  meta: (body) => ({ 'X-Hub-Signature-256': `sha256=${hmac(body)}` }),
  standard: (body, time = NOW) => ({
    'webhook-id': `msg_${hmac(body)}`,
    'webhook-timestamp': `${time}`,
    'webhook-signature': `v1,${hmac(bytes(`msg_${hmac(body)}.${time}.`, body), 'base64', standardKey)}`,
  }),
  hmac: (body, time = NOW) => ({
    'X-Signature': `v1=${hmac(bytes(`${time}.`, body))}`,
    'X-Time': `${time}`,
    'X-Id': hmac(body),
  }),
  token: () => ({ Authorization: `Bearer ${INBOX_SECRET}` }),
}
/** Sources that sign a time. */
const TIMED = ['stripe', 'slack', 'standard', 'hmac']

function toSource(source: string, body: Bytes, headers: Record<string, string>, more: Headers = []): Buffer {
  const payload = bytes(body)
  const given: Headers = [['Content-Length', String(payload.length)], ...Object.entries(headers), ...more]
  return bytes(head(`POST /in/${source} HTTP/1.1`, given), payload)
}

const unsigned = (name: string, says: Buffer) => refused(name, 401, 'MR_SIGNATURE_INVALID', says)

/** Values that no header of a scheme may have. `*`: the right one. */
const ILL_FORMED = [
  '',
  '*,*',
  '*x',
  'x*',
  '\xff',
  '0',
  'null',
  '[object Object]',
  'sha256=',
  'v1,',
  'x'.repeat(8000),
]
/** Headers that may have any value, as ids. */
const IDS = /delivery|webhook-id|idempotency-key|x-id/i

function ofSource(source: string): Case[] {
  const rightOf = RIGHT[source]!
  const body = `a body for ${source}`
  const right = rightOf(body)
  const cases: Case[] = []
  for (const [name, value] of Object.entries(right)) {
    const { [name]: _, ...others } = right
    cases.push(unsigned(`${source} without ${name}`, toSource(source, body, others)))
    cases.push(
      unsigned(`${source} with ${name} twice`, toSource(source, body, right, [[name.toUpperCase(), value]])),
    )
    const wrong = IDS.test(name) ? [''] : ILL_FORMED
    for (const [index, pattern] of wrong.entries()) {
      const given = pattern.replaceAll('*', () => value)
      cases.push(
        unsigned(
          `${source} with ${name} ill-formed, ${index}`,
          toSource(source, body, { ...others, [name]: given }),
        ),
      )
    }
  }
  if (source !== 'token' && source !== 'gitlab') {
    cases.push(unsigned(`${source} with another body`, toSource(source, `${body}.`, right)))
    cases.push(unsigned(`${source} with no body`, toSource(source, '', right)))
  }
  for (const other of Object.keys(RIGHT)) {
    if (other === source || (source === 'meta' && other === 'github')) continue
    cases.push(
      unsigned(`${source} with the headers of ${other}`, toSource(source, body, RIGHT[other]!(body))),
    )
  }
  return cases
}

function ofTime(source: string): Case[] {
  const rightOf = RIGHT[source]!
  return [
    ...[-301 - 60, 301 + 60, -1e6, 1e9].map((offset) =>
      unsigned(`${source} ${offset} s off`, toSource(source, 'b', rightOf('b', NOW + offset))),
    ),
    ...[0, -1, 1.5, NOW * 1000, Number.NaN].map((time) =>
      unsigned(`${source} at ${time}`, toSource(source, 'b', rightOf('b', time))),
    ),
  ]
}

const TAKEN: readonly string[] = [
  '',
  '\uFEFFafter a mark',
  '\0',
  '\0\n',
  '\0{"as":"text","source":"x"}\nx',
  'a\r\nb',
]
const type = (value: string): Headers => [['Content-Type', value]]

/** The cases. */
export const INBOX: readonly Case[] = [
  ...Object.keys(RIGHT).flatMap(ofSource),
  ...TIMED.flatMap(ofTime),
  ...Object.entries(RIGHT).map(([source, rightOf]) => {
    const body = `a right body for ${source}`
    return taken(`${source}, as it should be`, 200, toSource(source, body, rightOf(body)), [body])
  }),
  ...TAKEN.map((body, index) =>
    taken(`a body of any text, ${index}`, 200, toSource('github', body, RIGHT['github']!(body)), [body]),
  ),
  ...[
    '__proto__',
    'constructor',
    'toString',
    'GITHUB',
    'git hub'.replace(' ', '%20'),
    '..',
    'x'.repeat(10_000),
    '%00',
  ].map((name) =>
    refused(
      `the source ${name.slice(0, 20)}`,
      404,
      'MR_NOT_FOUND',
      toSource(name, 'x', RIGHT['github']!('x')),
    ),
  ),
  taken(
    'a source in another spelling is the same source',
    200,
    toSource('%67ithub', 'spelled', RIGHT['github']!('spelled')),
    ['spelled'],
  ),
  refused(
    'a page of another site',
    403,
    'MR_FORBIDDEN',
    toSource('open', 'x', {}, [['Origin', 'http://evil.example']]),
  ),
  refused('a foreign host', 403, 'MR_HOST_FORBIDDEN', toSource('open', 'x', { Host: 'evil.example' })),
  refused(
    'a source in another spelling, from another site',
    403,
    'MR_FORBIDDEN',
    toSource('%6fpen', 'x', {}, [['Origin', 'http://evil.example']]),
  ),
  refused('no type', 415, 'MR_TYPE_UNSUPPORTED', toSource('open', 'x', {})),
  refused('another type', 415, 'MR_TYPE_UNSUPPORTED', toSource('open', 'x', {}, type('text/html'))),
  refused(
    'a type of two',
    415,
    'MR_TYPE_UNSUPPORTED',
    toSource('open', 'x', {}, type('text/html, text/plain')),
  ),
  refused('a family of types', 415, 'MR_TYPE_UNSUPPORTED', toSource('open', 'x', {}, type('imagex/png'))),
  refused(
    'a zipped body',
    415,
    'MR_TYPE_UNSUPPORTED',
    toSource('open', 'x', {}, [...type('text/plain'), ['Content-Encoding', 'gzip']]),
  ),
  refused('a byte too many', 413, 'MR_TOO_LARGE', toSource('open', 'x'.repeat(1001), {}, type('text/plain'))),
  refused(
    'a byte too many in chunks',
    413,
    'MR_TOO_LARGE',
    bytes(
      head('POST /in/open HTTP/1.1', [...type('text/plain'), ['Transfer-Encoding', 'chunked']]),
      `3e9\r\n${'x'.repeat(1001)}\r\n0\r\n\r\n`,
    ),
  ),
  taken(
    'a header’s markup',
    201,
    toSource('open', 'marked up', {}, [...type('text/plain'), ['X-Html', '<script>"\\u0041']]),
    ['marked up'],
  ),
  taken(
    'a hundred kept headers',
    201,
    toSource('open', 'many', {}, [
      ...type('text/plain'),
      ...Array.from({ length: 90 }, (_, index) => [`X-${index}`, 'v'] as const),
    ]),
    ['many'],
  ),
  refused('GET of a source', 405, 'MR_METHOD_UNSUPPORTED', get('/in/open')),
  ...[
    '',
    '?hub.mode=subscribe',
    '?hub.mode=subscribe&hub.challenge=a&hub.verify_token=wrong',
    `?hub.mode=subscribe&hub.challenge=%0d%0aX-Injected:1&hub.verify_token=${INBOX_SECRET}`,
    `?hub.mode=subscribe&hub.challenge=a&hub.challenge=b&hub.verify_token=${INBOX_SECRET}`,
  ].map(
    (query): Case => ({
      name: `Meta asks with ${query.slice(0, 60)}`,
      says: get(`/in/meta${query}`),
      answers: [403],
    }),
  ),
]
