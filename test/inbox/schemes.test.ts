/** Who is let in: each scheme by requests that its senders' own libraries signed, and by all that is not quite so. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { checkHead } from '../../src/inbox/schemes.ts'
import type { Source } from '../../src/inbox/source.ts'
import { sourceOf } from '../support/sources.ts'
import { rawOf, SENDERS } from './senders.ts'

const require = createRequire(import.meta.url)
const definitions = require('@octokit/webhooks-examples') as { name: string; examples: unknown[] }[]
const NOW = Date.parse('2026-03-01T12:00:00Z')
const BODY = JSON.stringify(definitions.find(({ name }) => name === 'push')!.examples[0])
const OTHER = BODY.replace('refs/', 'refs.')

/** 'passes', or from where it was refused: 'head' or 'body'. */
function judge(source: Source, headers: string[], body: string | Buffer = BODY, nowMs = NOW): string {
  const head = checkHead(source, headers, nowMs)
  if (!head.ok) return 'head'
  return head.check(Buffer.from(body)) ? 'passes' : 'body'
}

function whyOf(source: Source, headers: string[], nowMs = NOW): string {
  const head = checkHead(source, headers, nowMs)
  assert.ok(!head.ok)
  return head.why
}

function without(headers: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([one]) => one !== name))
}

for (const [name, { declared, secrets, headers: sign, header, illFormed, time, id }] of Object.entries(
  SENDERS,
)) {
  describe(name, () => {
    const [secret, another] = secrets
    const source = sourceOf(declared, secret)
    const isTimed = time !== undefined || name === 'stripe'

    test('what its sender signed passes, in any spelling of the names of headers', async () => {
      const headers = await sign(BODY, secret, NOW)
      assert.equal(judge(source, rawOf(headers)), 'passes')
      for (const spell of [(text: string) => text.toLowerCase(), (text: string) => text.toUpperCase()]) {
        const spelled = Object.entries(headers).flatMap(([name, value]) => [spell(name), value])
        assert.equal(judge(source, spelled), 'passes')
      }
    })

    test('an empty body and one beyond ASCII pass', async () => {
      for (const body of ['', '"\u00fc \u{1f4ee}"', '\uFEFF{}']) {
        assert.equal(
          judge(source, rawOf(await sign(body, secret, NOW)), body),
          'passes',
          JSON.stringify(body),
        )
      }
    })

    test('another body, one byte more or one less does not pass', async () => {
      const headers = rawOf(await sign(BODY, secret, NOW))
      for (const body of [OTHER, `${BODY}\n`, BODY.slice(1), ''])
        assert.equal(judge(source, headers, body), 'body')
    })

    test('what was signed with another secret does not pass', async () => {
      assert.equal(judge(source, rawOf(await sign(BODY, another, NOW))), 'body')
    })

    test('while secrets are rotated either passes, at every place of four', async () => {
      const others = [1, 2, 3].map((n) => secret.replace(/.$/, `${n}`))
      for (let at = 0; at < 4; at += 1) {
        const rotating = sourceOf(declared, ...others.toSpliced(at, 0, secret))
        assert.equal(judge(rotating, rawOf(await sign(BODY, secret, NOW))), 'passes')
        assert.equal(judge(rotating, rawOf(await sign(BODY, another, NOW))), 'body')
      }
    })

    test('without a header that counts, with an empty or a doubled one, the head does not pass', async () => {
      const headers = await sign(BODY, secret, NOW)
      for (const counts of [header, time, id]) {
        if (counts === undefined) continue
        const rest = rawOf(without(headers, counts))
        assert.equal(judge(source, rest), 'head', `without ${counts}`)
        assert.equal(judge(source, [...rest, counts, '']), 'head', `${counts} is empty`)
        const doubled = [...rawOf(headers), counts.toLowerCase(), headers[counts]!]
        assert.equal(judge(source, doubled), 'head', `${counts} twice`)
      }
    })

    test('an ill-formed signature is refused from the head, and is not logged', async () => {
      const headers = await sign(BODY, secret, NOW)
      const wrong = illFormed(headers[header]!)
      for (const value of wrong) {
        const why = whyOf(source, rawOf({ ...headers, [header]: value }))
        assert.match(why, new RegExp(`${header}.* (is|has) `, 'i'), value)
        assert.ok(!why.includes(headers[header]!.slice(-12)) && !why.includes(secret), why)
      }
    })

    if (isTimed) {
      test('a time passes up to 300 s away, both ways, and is refused from the head beyond', async () => {
        for (const [atMs, verdict] of [
          [NOW - 300_000, 'passes'],
          [NOW + 300_000, 'passes'],
          [NOW - 301_000, 'head'],
          [NOW + 301_000, 'head'],
          [NOW - 365 * 86_400_000, 'head'],
        ] as const) {
          assert.equal(
            judge(source, rawOf(await sign(BODY, secret, atMs))),
            verdict,
            `${(atMs - NOW) / 1000} s`,
          )
        }
      })

      test('the log says how far a time is off', async () => {
        const stale = rawOf(await sign(BODY, secret, NOW - 400_000))
        assert.match(whyOf(source, stale), /^the time in \S+ is 400 s old, more than 300 s$/)
        const early = rawOf(await sign(BODY, secret, NOW + 400_000))
        assert.match(whyOf(source, early), /^the time in \S+ is 400 s ahead, more than 300 s$/)
      })

      test('another tolerance holds', async () => {
        const strict = sourceOf({ ...declared, tolerance: 10 }, secret)
        assert.equal(judge(strict, rawOf(await sign(BODY, secret, NOW - 10_000))), 'passes')
        assert.equal(judge(strict, rawOf(await sign(BODY, secret, NOW - 11_000))), 'head')
      })
    }

    if (time !== undefined) {
      test('another time than the signed one does not pass', async () => {
        const headers = await sign(BODY, secret, NOW)
        assert.equal(judge(source, rawOf({ ...headers, [time]: `${NOW / 1000 + 1}` })), 'body')
      })

      test('a time that is not whole seconds since 1970 is refused from the head', async () => {
        const headers = await sign(BODY, secret, NOW)
        const now = `${NOW / 1000}`
        for (const wrong of [
          `0${now}`,
          `+${now}`,
          `-${now}`,
          `${now}.5`,
          `${now}000`,
          'now',
          '1e9',
          '0x1',
          'NaN',
          `${now} `,
        ]) {
          assert.equal(judge(source, rawOf({ ...headers, [time]: wrong })), 'head', wrong)
        }
      })
    }
  })
}

describe('sources side by side', () => {
  const OWN = Object.entries(SENDERS).filter(([name]) => name !== 'hmac with a time')

  test('what one source takes, no other does', async () => {
    for (const [name, { secrets, headers }] of OWN) {
      const raw = rawOf(await headers(BODY, secrets[0], NOW))
      for (const [other, { declared, secrets }] of OWN) {
        const source = sourceOf(declared, secrets[0])
        assert.equal(judge(source, raw) === 'passes', name === other, `${name} to ${other}`)
      }
    }
  })

  test('two sources of one scheme with different secrets do not take each other’s', async () => {
    const { headers } = SENDERS['github']!
    const [one, two] = ['one', 'two'].map((secret) => sourceOf({ verify: 'github' }, secret))
    const raw = rawOf(await headers(BODY, 'one', NOW))
    assert.deepEqual([judge(one!, raw), judge(two!, raw)], ['passes', 'body'])
  })
})

describe('GitHub’s own payloads, signed by its own library', () => {
  const { declared, secrets, headers } = SENDERS['github']!
  const source = sourceOf(declared, secrets[0])
  const payloads = definitions.flatMap(({ examples }) => examples.map((one) => JSON.stringify(one)))

  test('pass all, byte for byte', async () => {
    assert.ok(payloads.length > 200)
    for (const payload of payloads) {
      const raw = rawOf(await headers(payload, secrets[0], NOW))
      assert.equal(judge(source, raw, payload), 'passes')
      assert.equal(judge(source, raw, JSON.stringify(JSON.parse(payload), null, 1)), 'body')
    }
  })
})

describe('published examples', () => {
  test('of GitHub', () => {
    const source = sourceOf({ verify: 'github' }, "It's a Secret to Everybody")
    const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    const headers = ['X-GitHub-Delivery', 'an id', 'X-Hub-Signature-256', signature]
    assert.equal(judge(source, headers, 'Hello, World!'), 'passes')
  })

  test('of Slack', () => {
    const source = sourceOf({ verify: 'slack' }, '8f742231b10e8888abcd99yyyzzz85a5')
    const body =
      'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V' +
      '&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=' +
      '&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN' +
      '&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'
    const signature = 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503'
    const headers = ['X-Slack-Request-Timestamp', '1531420618', 'X-Slack-Signature', signature]
    assert.equal(judge(source, headers, body, 1_531_420_618_000), 'passes')
    assert.equal(judge(source, headers, body), 'head')
  })

  test('of Standard Webhooks', () => {
    const source = sourceOf({ verify: 'standard' }, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')
    const headers = [
      ...['webhook-id', 'msg_p5jXN8AQM9LWM0D4loKWxJek', 'webhook-timestamp', '1614265330'],
      ...['webhook-signature', 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='],
    ]
    assert.equal(judge(source, headers, '{"test": 2432232314}', 1_614_265_330_000), 'passes')
  })

  // RFC 4231 and RFC 2202, case 2: the key is Jefe.
  for (const [algorithm, signature] of [
    ['sha1', 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'],
    ['sha256', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
    [
      'sha512',
      '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554' +
        '9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
    ],
  ] as const) {
    test(`of HMAC with ${algorithm}, in hex of either case and in Base64`, () => {
      const body = 'what do ya want for nothing?'
      const hex = sourceOf({ verify: 'hmac', header: 'X-S', algorithm }, 'Jefe')
      assert.equal(judge(hex, ['X-S', signature], body), 'passes')
      assert.equal(judge(hex, ['X-S', signature.toUpperCase()], body), 'passes')
      const base64 = sourceOf({ verify: 'hmac', header: 'X-S', algorithm, encoding: 'base64' }, 'Jefe')
      const encoded = Buffer.from(signature, 'hex').toString('base64')
      assert.equal(judge(base64, ['X-S', encoded], body), 'passes')
      if (algorithm !== 'sha256') return
      const shopify = sourceOf({ verify: 'shopify' }, 'Jefe')
      assert.equal(
        judge(shopify, ['X-Shopify-Webhook-Id', '1', 'X-Shopify-Hmac-Sha256', encoded], body),
        'passes',
      )
    })
  }
})

describe('several signatures in one header', () => {
  test('any v1 of Stripe passes, and nothing but v1', async () => {
    const { declared, headers, secrets } = SENDERS['stripe']!
    const source = sourceOf(declared, secrets[0])
    const { 'Stripe-Signature': right = '' } = await headers(BODY, secrets[0], NOW)
    const { 'Stripe-Signature': wrong = '' } = await headers(BODY, secrets[1], NOW)
    const [[time, one], [, two]] = [right.split(','), wrong.split(',')]
    const judged = (...items: (string | undefined)[]) => judge(source, ['Stripe-Signature', items.join(',')])
    assert.equal(judged(time, two, one), 'passes')
    assert.equal(judged(time, one, two), 'passes')
    assert.equal(
      judged(one, 'v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39', time),
      'passes',
    )
    assert.equal(judged(time, 'v1=short', one), 'passes')
    assert.equal(judged(time, two), 'body')
    assert.equal(judged(time, two, one?.replace('v1', 'v0')), 'body')
  })

  test('any v1 of Standard Webhooks passes, and nothing but v1', async () => {
    const { declared, headers, secrets } = SENDERS['standard']!
    const source = sourceOf(declared, secrets[0])
    const right = await headers(BODY, secrets[0], NOW)
    const wrong = await headers(BODY, secrets[1], NOW)
    const [one, two] = [right['webhook-signature']!, wrong['webhook-signature']!]
    const judged = (...items: string[]) =>
      judge(source, rawOf({ ...right, 'webhook-signature': items.join(' ') }))
    assert.equal(judged(two, one), 'passes')
    assert.equal(judged(one, two), 'passes')
    assert.equal(
      judged(
        'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
        one,
      ),
      'passes',
    )
    assert.equal(judged(two), 'body')
    assert.equal(judged(two, one.replace('v1', 'v2')), 'body')
  })
})

describe('Standard Webhooks', () => {
  test('an id with a dot is refused, though it was signed', async () => {
    const { secrets } = SENDERS['standard']!
    const { Webhook } = await import('standardwebhooks')
    const signature = new Webhook(secrets[0]).sign('msg.1', new Date(NOW), BODY)
    const source = sourceOf({ verify: 'standard' }, secrets[0])
    const headers = {
      'webhook-id': 'msg.1',
      'webhook-timestamp': `${NOW / 1000}`,
      'webhook-signature': signature,
    }
    assert.equal(whyOf(source, rawOf(headers)), 'webhook-id has a dot')
  })

  test('the id is signed', async () => {
    const { declared, headers, secrets } = SENDERS['standard']!
    const signed = await headers(BODY, secrets[0], NOW)
    const source = sourceOf(declared, secrets[0])
    assert.equal(judge(source, rawOf({ ...signed, 'webhook-id': 'msg_another' })), 'body')
  })

  test('a secret without whsec_ is the same key', async () => {
    const { declared, headers, secrets } = SENDERS['standard']!
    const source = sourceOf(declared, secrets[0].replace('whsec_', ''))
    assert.equal(judge(source, rawOf(await headers(BODY, secrets[0], NOW))), 'passes')
  })
})

describe('secrets in headers', () => {
  const gitlab = sourceOf({ verify: 'gitlab' }, 'new secret', 'old secret')
  const withToken = (token: string) => [
    'X-Gitlab-Event',
    'Push Hook',
    'Idempotency-Key',
    'f5e57ded',
    'X-Gitlab-Token',
    token,
  ]

  test('GitLab’s passes, during a rotation either, whatever the body', () => {
    assert.equal(judge(gitlab, withToken('new secret')), 'passes')
    assert.equal(judge(gitlab, withToken('old secret'), OTHER), 'passes')
  })

  test('a wrong, missing or doubled secret of GitLab is refused from the head, and so is a missing id', () => {
    for (const wrong of ['', 'new', 'new secret2', 'NEW SECRET', 'new secret, old secret']) {
      assert.equal(judge(gitlab, withToken(wrong)), 'head', wrong)
    }
    assert.equal(judge(gitlab, withToken('new secret').slice(0, 4)), 'head')
    assert.equal(judge(gitlab, [...withToken('new secret'), 'x-gitlab-token', 'new secret']), 'head')
    assert.equal(judge(gitlab, withToken('new secret').slice(4)), 'head')
  })

  test('a token is Authorization: Bearer, or the whole of another header', () => {
    const bearer = sourceOf({ verify: 'token' }, 's3cret')
    for (const right of ['Bearer s3cret', 'bearer s3cret', 'BEARER  s3cret']) {
      assert.equal(judge(bearer, ['authorization', right]), 'passes', right)
    }
    for (const wrong of [
      's3cret',
      'Basic s3cret',
      'Bearer',
      'Bearer ',
      'Bearer s3cre',
      'Bearer s3cret2',
      'Bearers3cret',
    ]) {
      assert.equal(judge(bearer, ['authorization', wrong]), 'head', wrong)
    }
    const own = sourceOf({ verify: 'token', header: 'X-Api-Key' }, 's3cret')
    assert.equal(judge(own, ['x-api-key', 's3cret']), 'passes')
    assert.equal(judge(own, ['x-api-key', 'Bearer s3cret']), 'head')
    assert.equal(judge(own, ['authorization', 'Bearer s3cret']), 'head')
    assert.equal(judge(own, ['x-api-key', 's3cret', 'x-api-key', 's3cret']), 'head')
  })

  test('a secret beyond ASCII is compared by its bytes, which Node shows as Latin-1', () => {
    const own = sourceOf({ verify: 'token', header: 'x-key' }, 'schlüssel')
    assert.equal(judge(own, ['x-key', Buffer.from('schlüssel').toString('latin1')]), 'passes')
    assert.equal(judge(own, ['x-key', 'schlüssel']), 'head')
  })

  test('the log names the header and shows neither what came nor what was expected', () => {
    assert.equal(whyOf(gitlab, withToken('guess')), 'x-gitlab-token is not a secret of this source')
  })
})

describe('a signed text of one’s own', () => {
  const at = NOW / 1000
  test('has the time and the body where it says, and any text between them', async () => {
    const { createHmac } = await import('node:crypto')
    for (const [signed, text] of [
      ['{timestamp}.{body}', `${at}.${BODY}`],
      ['v0:{timestamp}:{body}', `v0:${at}:${BODY}`],
      ['{body}{timestamp}', `${BODY}${at}`],
      ['<{body}>$&{timestamp}', `<${BODY}>$&${at}`],
    ] as const) {
      const source = sourceOf({ verify: 'hmac', header: 'X-S', signed, timestamp: 'header:X-T' }, 'key')
      const signature = createHmac('sha256', 'key').update(text).digest('hex')
      assert.equal(judge(source, ['X-S', signature, 'X-T', `${at}`]), 'passes', signed)
    }
  })

  test('a digit does not wander between body and time', async () => {
    const { createHmac } = await import('node:crypto')
    const signed = '{body}{timestamp}'
    const source = sourceOf({ verify: 'hmac', header: 'X-S', signed, timestamp: 'header:X-T' }, 'key')
    const signature = createHmac('sha256', 'key').update(`pay 10${at}`).digest('hex')
    assert.equal(judge(source, ['X-S', signature, 'X-T', `${at}`], 'pay 10'), 'passes')
    assert.equal(judge(source, ['X-S', signature, 'X-T', `0${at}`], 'pay 1'), 'head')
    assert.equal(judge(source, ['X-S', signature, 'X-T', `${at}`.slice(1)], `pay 10${`${at}`[0]}`), 'head')
  })
})

describe('a source that checks nothing', () => {
  test('takes all', () => {
    assert.equal(judge(sourceOf({ verify: 'none' }), []), 'passes')
  })

  test('refuses a head without the id that it is to have', () => {
    const source = sourceOf({ verify: 'none', dedupe: 'header:X-Id' })
    assert.equal(judge(source, ['X-Id', '1']), 'passes')
    assert.equal(whyOf(source, []), 'x-id is missing')
    assert.equal(whyOf(source, ['X-Id', '1', 'x-id', '1']), 'x-id is there 2 times')
  })
})
