/** Samples: our own check lets them in, and so do the libraries of those whose requests they imitate. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { verify as verifyByGithub } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { takesType } from '../../src/inbox/headers.ts'
import { repeatKeyOf } from '../../src/inbox/repeat-key.ts'
import { type Sample, sampleOf } from '../../src/inbox/sample.ts'
import { checkHead } from '../../src/inbox/schemes.ts'
import type { Source } from '../../src/inbox/source.ts'
import { sourceOf } from '../support/sources.ts'
import { rawOf, SENDERS } from './senders.ts'

const NOW = Date.parse('2026-03-01T12:00:00.600Z')
const [ID, ANOTHER] = ['01KAXB5Z7T4N8V2M6Q0R3W9C01', '01KAXB5Z7T4N8V2M6Q0R3W9C02']

function isTaken(source: Source, { headers, body }: Sample): boolean {
  const head = checkHead(source, rawOf(headers), NOW)
  return head.ok && head.check(Buffer.from(body)) && takesType(source, rawOf(headers))
}

/** The schemes whose secret is sent as it is, and the one without, which no sender in `SENDERS` has. */
const OTHERS: Record<string, { declared: object; secrets: string[] }> = {
  gitlab: { declared: { verify: 'gitlab' }, secrets: ['a token of gitlab'] },
  'a token': { declared: { verify: 'token' }, secrets: ['a bearer'] },
  'a token in a header': { declared: { verify: 'token', header: 'X-Key' }, secrets: ['a key'] },
  none: { declared: { verify: 'none' }, secrets: [] },
}

for (const [name, { declared, secrets }] of Object.entries({ ...SENDERS, ...OTHERS })) {
  describe(`a sample for ${name}`, () => {
    const source = sourceOf(declared, ...secrets)
    const sample = sampleOf(source, { id: ID, nowMs: NOW })

    test('is taken, with the first of several secrets', () => {
      assert.ok(isTaken(source, sample))
      const [first] = secrets
      if (first !== undefined) assert.ok(isTaken(sourceOf(declared, first), sample))
    })

    test('is not taken with another secret', () => {
      const [first] = secrets
      // Of the same form, and no other beginning.
      const wrong = first?.replace(/[a-z](?=[^a-z]*$)/, (letter) => (letter === 'x' ? 'y' : 'x'))
      if (wrong !== undefined) assert.ok(!isTaken(sourceOf(declared, wrong), sample))
    })

    test('is no repeat of another sample', () => {
      const keyOf = ({ headers, body }: Sample) =>
        repeatKeyOf(name, source, rawOf(headers), Buffer.from(body))
      const another = sampleOf(source, { id: ANOTHER, nowMs: NOW })
      assert.notEqual(another.body, sample.body)
      if (source.dedupe.by === 'none' || source.dedupe.by === 'event') return
      assert.notEqual(keyOf(sample), undefined)
      assert.notEqual(keyOf(sample), keyOf(another))
    })

    test('names the header that is the secret, if there is one', () => {
      const { headers, secretHeader } = sample
      const holding = Object.keys(headers).filter((header) =>
        secrets.some((secret) => headers[header]!.includes(secret)),
      )
      assert.deepEqual(holding, secretHeader === undefined ? [] : [secretHeader])
    })
  })
}

test('the libraries of GitHub, Stripe and Standard Webhooks take the samples for theirs', async () => {
  const sample = (name: 'github' | 'stripe' | 'standard', nowMs: number) => {
    const { declared, secrets } = SENDERS[name]!
    const [secret] = secrets
    return { secret, ...sampleOf(sourceOf(declared, secret), { id: ID, nowMs }) }
  }
  const github = sample('github', NOW)
  assert.ok(await verifyByGithub(github.secret, github.body, github.headers['x-hub-signature-256']!))
  const stripe = sample('stripe', NOW)
  const { webhooks } = new Stripe('sk_test_none')
  const [signature, at] = [stripe.headers['stripe-signature']!, Math.floor(NOW / 1000)]
  const event = webhooks.constructEvent(stripe.body, signature, stripe.secret, 300, undefined, at)
  assert.deepEqual([event.id, event.created], [`evt_${ID}`, at])
  const standard = sample('standard', Date.now())
  const verified = new Webhook(standard.secret).verify(standard.body, standard.headers)
  assert.equal((verified as { type: string }).type, 'sample.sent')
})

test('a sample has its id where the source looks for it', () => {
  const secret = 'a secret'
  for (const [dedupe, where] of [
    ['json:/id', /"id":"01KAX/],
    ['json:/data/the~1order/0', /"data":\{"the\/order":\{"0":"01KAX/],
    ['json:/sample/of', /"sample":\{"of":"01KAX/],
  ] as const) {
    const source = sourceOf({ verify: 'hmac', header: 'X-Signature', dedupe }, secret)
    const { headers, body } = sampleOf(source, { id: ID, nowMs: NOW })
    assert.match(body, where)
    assert.notEqual(repeatKeyOf('a', source, rawOf(headers), Buffer.from(body)), undefined)
  }
  const named = sourceOf({ verify: 'token', dedupe: 'header:X-Id' }, secret)
  assert.equal(sampleOf(named, { id: ID, nowMs: NOW }).headers['x-id'], ID)
  const event = sourceOf({ verify: 'token', cloudevents: true }, secret)
  assert.equal(sampleOf(event, { id: ID, nowMs: NOW }).headers['ce-id'], ID)
})

test('a sample is of a type that the source takes', () => {
  const typeOf = (...types: string[]) => {
    const source = sourceOf({ verify: 'none', types })
    const sample = sampleOf(source, { id: ID, nowMs: NOW })
    assert.ok(isTaken(source, sample))
    return sample.headers['content-type']
  }
  assert.equal(typeOf('text/csv', 'application/json'), 'application/json')
  assert.equal(typeOf('application/x-www-form-urlencoded'), 'application/x-www-form-urlencoded')
  assert.equal(typeOf('image/*'), 'image/x-sample')
})
