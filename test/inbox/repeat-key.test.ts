/** What is one message, sent twice, and what is two: by the ids that senders give. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { CloudEvent, type CloudEventV1, HTTP } from 'cloudevents'
import { repeatKeyOf } from '../../src/inbox/repeat-key.ts'
import { checkHead } from '../../src/inbox/schemes.ts'
import type { Source } from '../../src/inbox/source.ts'
import { sourceOf } from '../support/sources.ts'
import { rawOf, SENDERS } from './senders.ts'

const MiB = 1024 * 1024
const require = createRequire(import.meta.url)
const definitions = require('@octokit/webhooks-examples') as { name: string; examples: unknown[] }[]

function keyOf(
  source: Source,
  headers: string[],
  body: string | Buffer = '',
  name = 'it',
): string | undefined {
  return repeatKeyOf(name, source, headers, Buffer.from(body))
}

/** The key of an id, as the design has it. */
const inKey = (name: string, id: string) =>
  `in:${createHash('sha256').update(`${name}\0${id}`).digest('base64url')}`

describe('an id in a header', () => {
  const github = sourceOf({ verify: 'github' }, 's')
  const headers = (id: string) => ['x-github-event', 'push', 'X-GITHUB-Delivery', id]

  test('is the key, with the name of the source, whatever the body', () => {
    assert.equal(keyOf(github, headers('72d3162e')), inKey('it', '72d3162e'))
    assert.equal(keyOf(github, headers('72d3162e'), 'another body'), inKey('it', '72d3162e'))
    assert.notEqual(keyOf(github, headers('72d3162f')), inKey('it', '72d3162e'))
  })

  test('is another message at another source', () => {
    const keys = ['a', 'b'].map((name) => keyOf(github, headers('1'), '', name))
    assert.notEqual(keys[0], keys[1])
    assert.notEqual(keyOf(github, headers('bc'), '', 'a'), keyOf(github, headers('c'), '', 'ab'))
  })

  test('makes keys outside the alphabet of clients’ keys, of one length', () => {
    for (const id of ['1', 'x'.repeat(5000)]) assert.match(keyOf(github, headers(id))!, /^in:[\w-]{43}$/)
  })

  test('every sender that has one has its own', async () => {
    for (const [name, { declared, secrets, headers, id }] of Object.entries(SENDERS)) {
      if (id === undefined) continue
      const sent = await headers('{}', secrets[0], 0)
      const key = keyOf(sourceOf(declared, secrets[0]), rawOf(sent), '{}')
      assert.equal(key, inKey('it', sent[id]!), name)
    }
  })

  test('Shopify’s event id, which several topics share, is none', () => {
    const shopify = sourceOf({ verify: 'shopify' }, 's')
    const of = (id: string) => keyOf(shopify, ['X-Shopify-Event-Id', 'same', 'X-Shopify-Webhook-Id', id])
    assert.notEqual(of('1'), of('2'))
  })
})

describe('an id in the body', () => {
  const at = (pointer: string) => sourceOf({ verify: 'none', dedupe: `json:${pointer}` })
  const idIn = (body: string | Buffer, pointer = '/id') => keyOf(at(pointer), [], body)

  test('of Stripe and Slack', () => {
    const stripe = sourceOf({ verify: 'stripe' }, 's')
    assert.equal(keyOf(stripe, [], '{"id": "evt_1Ng8", "object": "event"}'), inKey('it', 'evt_1Ng8'))
    const slack = sourceOf({ verify: 'slack' }, 's')
    assert.equal(
      keyOf(slack, [], '{"type": "event_callback", "event_id": "Ev9UQ52YNA"}'),
      inKey('it', 'Ev9UQ52YNA'),
    )
    assert.equal(keyOf(slack, [], 'token=x&command=%2Fdo'), undefined)
  })

  test('is a number as it is written, beyond 2^53 too', () => {
    for (const number of ['1', '-0', '9007199254740993', '9007199254740992', '1.0', '1e3', '1000', '1e400']) {
      assert.equal(idIn(`{"id": ${number}}`), inKey('it', number))
    }
  })

  test('is found by a pointer of RFC 6901', () => {
    const body =
      '{"foo": ["bar", "baz"], "": "empty", "a/b": "1", "c%d": "2", "i\\\\j": "5", "k\\"l": "6", " ": "7", "m~n": "8", "~1": "9"}'
    for (const [pointer, id] of [
      ['/foo/0', 'bar'],
      ['/foo/1', 'baz'],
      ['/', 'empty'],
      ['/a~1b', '1'],
      ['/c%d', '2'],
      ['/i\\j', '5'],
      ['/k"l', '6'],
      ['/ ', '7'],
      ['/m~0n', '8'],
      ['/~01', '9'],
    ] as const) {
      assert.equal(idIn(body, pointer), inKey('it', id), pointer)
    }
    for (const pointer of [
      '/foo',
      '/foo/2',
      '/foo/-',
      '/foo/00',
      '/foo/length',
      '/foo/0/0',
      '/bar',
      '/toString',
      '/__proto__',
      '/constructor/name',
    ]) {
      assert.equal(idIn(body, pointer), undefined, pointer)
    }
    assert.equal(
      idIn(JSON.stringify(definitions.find(({ name }) => name === 'push')!.examples[0]), '/after') ===
        undefined,
      false,
    )
  })

  test('is none when it is no text and no number, or the body is no JSON', () => {
    for (const value of ['null', 'true', '{}', '[]', '""'])
      assert.equal(idIn(`{"id": ${value}}`), undefined, value)
    for (const body of ['', 'id=1', '"id"', '1', 'null', '[1]', '{"id": 1', '\uFEFF{"id":']) {
      assert.equal(idIn(body), undefined, body)
    }
    assert.equal(idIn('['.repeat(100_000)), undefined)
  })

  test('is found beside what is nested deeply; where it is a number, that may be too deep', () => {
    const body = (id: string) => `{"a":${'['.repeat(300_000)}${']'.repeat(300_000)},"id":${id}}`
    assert.equal(idIn(body('"1"')), inKey('it', '1'))
    assert.equal(idIn(body('1')), undefined)
  })

  test('is none in a body that is not UTF-8, where two ids could look alike', () => {
    const body = (byte: number) =>
      Buffer.concat([Buffer.from('{"id": "'), Buffer.from([byte]), Buffer.from('"}')])
    assert.equal(idIn(body(0x41)), inKey('it', 'A'))
    assert.equal(idIn(body(0xff)), undefined)
  })

  test('is looked for in bodies up to 1 MiB', () => {
    const body = (bytes: number) => '{"id": "1"}'.padEnd(bytes, ' ')
    assert.equal(idIn(body(MiB)), inKey('it', '1'))
    assert.equal(idIn(body(MiB + 1)), undefined)
  })
})

describe('no id', () => {
  test('of its own: none, hmac and token', () => {
    for (const verify of ['none', 'token', 'hmac']) {
      const source = sourceOf(
        { verify, ...(verify === 'hmac' && { header: 'X-S' }) },
        ...(verify === 'none' ? [] : ['s']),
      )
      assert.equal(keyOf(source, ['Idempotency-Key', '1', 'webhook-id', '2'], '{"id": "3"}'), undefined)
    }
  })

  test('if it says so', () => {
    const source = sourceOf({ verify: 'github', dedupe: 'none' }, 's')
    assert.equal(keyOf(source, ['X-GitHub-Delivery', '1']), undefined)
    assert.equal(checkHead(source, ['X-Hub-Signature-256', `sha256=${'0'.repeat(64)}`], 0).ok, true)
  })
})

describe('the signed body as its own id', () => {
  test('one body is one message, also after the secret was rotated', () => {
    const [before, after] = [['old'], ['new', 'old']].map((secrets) => {
      return sourceOf({ verify: 'meta', verifyToken: 'env:VERIFY' }, ...secrets)
    })
    assert.equal(keyOf(before!, [], '{"a":1}'), keyOf(after!, [], '{"a":1}'))
    assert.notEqual(keyOf(before!, [], '{"a":1}'), keyOf(before!, [], '{"a":2}'))
    assert.notEqual(keyOf(before!, [], '{"a":1}', 'a'), keyOf(before!, [], '{"a":1}', 'b'))
    assert.match(keyOf(before!, [], '')!, /^in:/)
  })
})

describe('CloudEvents', () => {
  const hooks = sourceOf({ verify: 'token' }, 's3cret')
  const event = (fields: Partial<CloudEventV1<unknown>> = {}) =>
    new CloudEvent({ id: 'A234-1234', source: '/mycontext', type: 'com.example', data: { a: 1 }, ...fields })
  const sent = (one: CloudEventV1<unknown>, mode: 'binary' | 'structured') => {
    const { headers, body } = HTTP[mode](one)
    return [rawOf(headers as Record<string, string>), String(body)] as const
  }

  for (const mode of ['binary', 'structured'] as const) {
    test(`in ${mode} mode are known by source and id`, () => {
      const keys = [
        event(),
        event({ data: { a: 2 } }),
        event({ id: 'A234-1235' }),
        event({ source: '/other' }),
        event({ source: '/mycontextA', id: '234-1234' }),
      ].map((one) => keyOf(hooks, ...sent(one, mode)))
      assert.equal(keys[0], inKey('it', JSON.stringify(['/mycontext', 'A234-1234'])))
      assert.equal(keys[0], keys[1])
      assert.equal(new Set(keys).size, 4)
    })

    test(`in ${mode} mode have no key at a source that says none, or that anybody may post to`, () => {
      const [headers, body] = sent(event(), mode)
      assert.equal(keyOf(sourceOf({ verify: 'token', dedupe: 'none' }, 's'), headers, body), undefined)
      assert.equal(keyOf(sourceOf({ verify: 'none' }), headers, body), undefined)
      assert.match(keyOf(sourceOf({ verify: 'none', cloudevents: true }), headers, body)!, /^in:/)
    })

    test(`in ${mode} mode are known by the scheme’s id where it has one`, () => {
      const [headers, body] = sent(event(), mode)
      const standard = sourceOf({ verify: 'standard' }, 'c2VjcmV0')
      assert.equal(keyOf(standard, [...headers, 'webhook-id', 'msg_1'], body), inKey('it', 'msg_1'))
    })
  }

  test('in one batch are one message, known by its bytes', () => {
    const batch = (...ids: string[]) =>
      JSON.stringify(ids.map((id) => event({ id, time: '2026-03-01T12:00:00Z' })))
    const headers = ['Content-Type', 'application/cloudevents-batch+json; charset=UTF-8']
    const keys = [batch('1', '2'), batch('1', '2'), batch('2', '1'), batch('1')].map((body) =>
      keyOf(hooks, headers, body),
    )
    assert.equal(keys[0], keys[1])
    assert.equal(new Set(keys).size, 3)
    assert.match(keyOf(hooks, headers, ' '.repeat(MiB + 1))!, /^in:/)
  })

  test('that are none have no key', () => {
    const structured = (body: string) => keyOf(hooks, ['Content-Type', 'Application/CloudEvents+JSON'], body)
    assert.match(structured('{"source": "s", "id": "1"}')!, /^in:/)
    for (const body of ['{"id": "1"}', '{"source": "s"}', '{"source": "s", "id": ""}', '[]', 'x']) {
      assert.equal(structured(body), undefined, body)
    }
    assert.equal(keyOf(hooks, ['Content-Type', 'application/json'], '{"source": "s", "id": "1"}'), undefined)
  })

  test('without an id, or with two, are refused from the head in binary mode', () => {
    const [headers] = sent(event(), 'binary')
    const authorized = [...headers, 'Authorization', 'Bearer s3cret']
    const judged = (raw: string[]) => checkHead(hooks, raw, 0)
    assert.equal(judged(authorized).ok, true)
    for (const name of ['ce-id', 'ce-source']) {
      const at = authorized.findIndex((one, at) => at % 2 === 0 && one.toLowerCase() === name)
      assert.deepEqual(judged(authorized.toSpliced(at, 2)), { ok: false, why: `${name} is missing` })
      assert.deepEqual(judged([...authorized, name, 'another']), {
        ok: false,
        why: `${name} is there 2 times`,
      })
    }
  })
})
