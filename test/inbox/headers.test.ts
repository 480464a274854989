/** Which headers stay with a message, and which never do. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { keptHeaders, takesType } from '../../src/inbox/headers.ts'
import type { Source } from '../../src/inbox/source.ts'
import { sourceOf } from '../support/sources.ts'
import { rawOf, SENDERS } from './senders.ts'

const github = sourceOf({ verify: 'github' }, 's')
const keeping = (...keep: string[]): Source => sourceOf({ verify: 'none', keep })

describe('kept headers', () => {
  test('by default: who sent it, x-*, ids, CloudEvents’ and traces', () => {
    const raw = [
      ...[
        'Host',
        'a',
        'Content-Length',
        '2',
        'Content-Type',
        'application/json',
        'Accept',
        '*/*',
        'Connection',
        'close',
      ],
      ...['User-Agent', 'GitHub-Hookshot/044aadd', 'X-GitHub-Event', 'push', 'X-GitHub-Delivery', '72d3'],
      ...[
        'webhook-id',
        'msg_1',
        'Webhook-Timestamp',
        '1',
        'ce-id',
        '1',
        'ce-type',
        't',
        'traceparent',
        '00-0af7',
      ],
      ...['Date', 'today', 'Cookie', 'a=b', 'Authorization', 'Bearer x', 'Referer', 'there'],
    ]
    assert.deepEqual(keptHeaders(github, raw), {
      ...{ 'user-agent': 'GitHub-Hookshot/044aadd', 'x-github-event': 'push', 'x-github-delivery': '72d3' },
      ...{
        'webhook-id': 'msg_1',
        'webhook-timestamp': '1',
        'ce-id': '1',
        'ce-type': 't',
        traceparent: '00-0af7',
      },
    })
  })

  test('a list of its own replaces the default', () => {
    const raw = ['X-A', '1', 'Date', 'today', 'Accept', 'a', 'Accept-Language', 'en', 'User-Agent', 'curl']
    assert.deepEqual(keptHeaders(keeping('Date', 'accept-*'), raw), {
      date: 'today',
      'accept-language': 'en',
    })
    assert.deepEqual(keptHeaders(keeping(), raw), {})
  })

  test('what may carry a secret, or a proxy sets, is kept by its full name only', () => {
    const delicate = [
      ...[
        'x-auth',
        'x-access-token',
        'authorization',
        'x-secret',
        'x-api-key',
        'x-apikey',
        'password',
        'cookie',
      ],
      ...[
        'set-cookie',
        'x-session-id',
        'x-jwt-assertion',
        'x-credentials',
        'x-forwarded-for',
        'x-forwarded-proto',
      ],
    ]
    for (const name of delicate) {
      const raw = [name.toUpperCase(), 'v']
      assert.deepEqual(keptHeaders(keeping('*', 'x-*', `${name}*`), raw), {}, name)
      assert.deepEqual(keptHeaders(keeping(name), raw), { [name]: 'v' })
    }
  })

  test('those of the connection, Host and Content-Length are not kept even by name', () => {
    const never = [
      ...['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'proxy-connection'],
      ...['proxy-authorization', 'proxy-authenticate', 'expect', 'host', 'content-length'],
    ]
    for (const name of never) assert.deepEqual(keptHeaders(keeping(name, '*'), [name, 'v']), {}, name)
    const raw = ['Connection', 'close, X-Hop', 'X-Hop', '1', 'X-End', '2']
    assert.deepEqual(keptHeaders(keeping('x-*', 'x-hop'), raw), { 'x-end': '2' })
  })

  test('no scheme keeps the header with its signature or its secret, even by name', async () => {
    for (const [name, { declared, secrets, headers, header }] of Object.entries(SENDERS)) {
      const source = sourceOf({ ...declared, keep: ['*', header] }, secrets[0])
      const kept = keptHeaders(source, rawOf(await headers('{}', secrets[0], 0)))
      assert.equal(Object.hasOwn(kept, header.toLowerCase()), false, name)
    }
    for (const declared of [
      { verify: 'gitlab' },
      { verify: 'token' },
      { verify: 'token', header: 'X-Key' },
    ]) {
      const names = ['x-gitlab-token', 'authorization', 'x-key']
      const source = sourceOf({ ...declared, keep: names }, 's')
      const kept = keptHeaders(
        source,
        names.flatMap((name) => [name, 's']),
      )
      assert.deepEqual(
        Object.keys(kept),
        names.filter((name) => name !== source.header),
      )
    }
  })

  test('values of one name are joined in their order', () => {
    const raw = ['X-A', '1', 'X-B', '2', 'x-a', '3', 'X-A', '']
    assert.deepEqual(keptHeaders(github, raw), { 'x-a': '1, 3, ', 'x-b': '2' })
  })

  test('a header named as a part of every object is one as any other', () => {
    const kept = keptHeaders(keeping('*'), ['__proto__', 'a', 'constructor', 'b', '__proto__', 'c'])
    assert.deepEqual(Object.entries(kept), [
      ['__proto__', 'a, c'],
      ['constructor', 'b'],
    ])
  })
})

describe('media types', () => {
  const takes = (types: string[] | undefined, ...raw: string[]) =>
    takesType(sourceOf({ verify: 'none', ...(types !== undefined && { types }) }), raw)

  test('any is taken, and none at all, unless the source names some', () => {
    assert.equal(takes(undefined), true)
    assert.equal(takes(undefined, 'Content-Type', 'x'), true)
  })

  test('those named are taken, in any case, with parameters, by their family too', () => {
    const types = ['application/json', 'Image/*']
    for (const type of [
      'application/json',
      'Application/JSON',
      'application/json; charset=utf-8',
      'application/json;x',
      'image/png',
      'IMAGE/SVG+xml',
    ]) {
      assert.equal(takes(types, 'content-type', type), true, type)
    }
    for (const type of [
      'text/plain',
      'application/json2',
      'json',
      '',
      'imagex/png',
      'text/plain; application/json',
    ]) {
      assert.equal(takes(types, 'content-type', type), false, type)
    }
    assert.equal(takes(types), false)
  })
})
