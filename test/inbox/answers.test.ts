/** Handshakes: a URL is confirmed to the sender that it belongs to, and nothing else is echoed. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { cloudEventsOptions, metaHandshake, slackHandshake } from '../../src/inbox/answers.ts'
import { sourceOf } from '../support/sources.ts'

const asText = (status: number, body: string) => ({
  status,
  headers: { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' },
  body,
})

describe('Slack', () => {
  const slack = sourceOf({ verify: 'slack' }, 's')
  const challenge = '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P'
  const handshake = { token: 'Jhj5dZrVaK7ZwHHjRyZWjbDl', challenge, type: 'url_verification' }
  const answer = (body: unknown) =>
    slackHandshake(slack, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

  test('url_verification is answered with its challenge', () => {
    assert.deepEqual(answer(handshake), asText(200, challenge))
  })

  test('everything else is a message', () => {
    for (const body of [
      ...[
        '',
        'null',
        '[]',
        '"url_verification"',
        'token=x&text=url_verification',
        '{"type":"url_verification"',
      ],
      ...[
        { ...handshake, type: 'event_callback' },
        { ...handshake, challenge: 5 },
        { type: 'url_verification' },
      ],
      ...[
        { ...handshake, challenge: '<script>' },
        { ...handshake, challenge: '' },
      ],
      ...[
        { ...handshake, challenge: 'a'.repeat(201) },
        { ...handshake, padding: ' '.repeat(5000) },
      ],
    ]) {
      assert.equal(answer(body), undefined, JSON.stringify(body))
    }
  })

  test('other sources know no handshake of Slack', () => {
    const github = sourceOf({ verify: 'github' }, 's')
    assert.equal(slackHandshake(github, Buffer.from(JSON.stringify(handshake))), undefined)
  })
})

describe('Meta', () => {
  const meta = sourceOf({ verify: 'meta', verifyToken: 'env:VERIFY' }, 's')
  const right = 'hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=verify+me'
  const answer = (query: string) => metaHandshake(meta, new URLSearchParams(query))

  test('the right token gets the challenge as text', () => {
    assert.deepEqual(answer(right), asText(200, '1158201444'))
    assert.deepEqual(answer(`other=1&${right}`), asText(200, '1158201444'))
    const longest = 'aB_-'.repeat(50)
    assert.deepEqual(answer(right.replace('1158201444', longest)), asText(200, longest))
  })

  test('all else gets 403 and nothing of what it sent', () => {
    for (const wrong of [
      '',
      right.replace('verify+me', 'verify+you'),
      right.replace('verify+me', ''),
      right.replace('verify+me', 'verify+me2'),
      right.replace('&hub.verify_token=verify+me', ''),
      right.replace('subscribe', 'unsubscribe'),
      right.replace('hub.mode=subscribe&', ''),
      right.replace('1158201444', ''),
      right.replace('1158201444', '<b>'),
      right.replace('1158201444', '1%0A2'),
      right.replace('1158201444', 'a'.repeat(201)),
      right.replace('hub.challenge=1158201444&', ''),
      `${right}&hub.verify_token=verify+me`,
      `${right}&hub.challenge=2`,
      `${right}&hub.mode=subscribe`,
    ]) {
      assert.deepEqual(answer(wrong), asText(403, ''), wrong)
    }
  })

  test('a source without a token confirms nothing', () => {
    const { verifyToken: _, ...without } = meta
    for (const query of [right, right.replace('verify+me', '')]) {
      assert.equal(metaHandshake(without, new URLSearchParams(query)).status, 403)
    }
  })
})

describe('CloudEvents', () => {
  const allowed = (...raw: string[]) => cloudEventsOptions(raw).headers

  test('the origin that asks may send, at any rate', () => {
    const raw = ['WebHook-Request-Origin', 'eventemitter.example.com', 'WebHook-Request-Rate', '120']
    assert.deepEqual(cloudEventsOptions([...raw, 'WebHook-Request-Callback', 'http://127.0.0.1:1/']), {
      status: 200,
      headers: {
        ...{ Allow: 'POST, OPTIONS', 'WebHook-Allowed-Origin': 'eventemitter.example.com' },
        'WebHook-Allowed-Rate': '*',
      },
      body: '',
    })
  })

  test('an origin that is none is not echoed', () => {
    for (const origin of ['', 'a b', '<b>', 'a\r\nb', 'a'.repeat(254), 'ä']) {
      assert.equal(allowed('webhook-request-origin', origin)['WebHook-Allowed-Origin'], '*', origin)
    }
    assert.equal(allowed()['WebHook-Allowed-Origin'], '*')
  })
})
