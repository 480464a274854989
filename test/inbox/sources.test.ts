/** The file of `--sources`: what it means, and everything that can be wrong with it, by its place and at once. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { readSources, type SourcesContext } from '../../src/inbox/sources.ts'
import { sourcesJsonSchema } from '../../src/inbox/sources-schema.ts'
import { isMailroomError } from '../../src/runtime/errors.ts'
import { FILE, sourceOf, sourcesOf } from '../support/sources.ts'

const ENV = { SECRET: 's3cret', OLD: 'old', EMPTY: '', STANDARD: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }
const MiB = 1024 * 1024

/** What is wrong, without what every problem begins with. */
function problemsOf(file: unknown, context: Partial<SourcesContext> = {}): string[] {
  try {
    sourcesOf(file, { env: ENV, ...context })
  } catch (error) {
    assert.ok(isMailroomError(error, 'MR_CONFIG_INVALID'), `${error}`)
    return error.details.problems.map((problem) => {
      assert.ok(problem.startsWith(`--sources ${FILE}: `), problem)
      return problem.slice(`--sources ${FILE}: `.length)
    })
  }
  return []
}

const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('a sources file', () => {
  test('that of the documentation gives these sources', () => {
    const sources = sourcesOf(
      {
        $schema: 'https://example.com/sources.schema.json',
        github: { verify: 'github', secret: 'env:SECRET' },
        stripe: { verify: 'stripe', secret: ['env:SECRET', 'env:OLD'] },
        orders: {
          verify: 'hmac',
          header: 'X-Signature',
          prefix: 'sha256=',
          secret: 'file:/run/secrets/orders',
        },
        form: {
          ...{ verify: 'none', types: ['application/x-www-form-urlencoded'], answer: 202, browser: true },
        },
      },
      { env: ENV, read: () => Buffer.from('of a file\n') },
    )
    const common = {
      toleranceMs: 300_000,
      keep: ['user-agent', 'x-*', 'webhook-id', 'webhook-timestamp', 'ce-*', 'traceparent'],
      ...{ maxBytes: MiB, answer: 200, browser: false, cloudevents: false },
    }
    const signing = { prefix: 'sha256=', algorithm: 'sha256', encoding: 'hex', signed: '{body}' }
    assert.deepEqual(sources, {
      github: {
        ...{ ...common, verify: 'github', keys: [base64('s3cret')], header: 'x-hub-signature-256' },
        signing: { header: 'x-hub-signature-256', ...signing },
        dedupe: { by: 'header', name: 'x-github-delivery' },
      },
      stripe: {
        ...{
          ...common,
          verify: 'stripe',
          keys: [base64('s3cret'), base64('old')],
          header: 'stripe-signature',
        },
        dedupe: { by: 'json', pointer: '/id' },
      },
      orders: {
        ...{ ...common, verify: 'hmac', keys: [base64('of a file')], header: 'x-signature' },
        signing: { header: 'x-signature', ...signing },
        dedupe: { by: 'event' },
      },
      form: {
        ...{ ...common, verify: 'none', keys: [], types: ['application/x-www-form-urlencoded'] },
        ...{ answer: 202, browser: true, dedupe: { by: 'none' } },
      },
    })
    assert.deepEqual(JSON.parse(JSON.stringify(sources)), sources)
  })

  test('every scheme knows a repeat as its sender’s documentation says', () => {
    const env = { secret: 'file:/0', verifyToken: 'env:VERIFY' }
    const dedupes = Object.fromEntries(
      ['github', 'gitlab', 'stripe', 'shopify', 'slack', 'standard', 'hmac', 'token', 'none', 'meta'].map(
        (verify) => {
          const { verifyToken } = env
          const more = { hmac: { header: 'X-S' }, meta: { verifyToken } }[verify] ?? {}
          return [verify, sourceOf({ verify, ...more }, ...(verify === 'none' ? [] : ['c2VjcmV0'])).dedupe]
        },
      ),
    )
    assert.deepEqual(dedupes, {
      github: { by: 'header', name: 'x-github-delivery' },
      gitlab: { by: 'header', name: 'idempotency-key' },
      stripe: { by: 'json', pointer: '/id' },
      shopify: { by: 'header', name: 'x-shopify-webhook-id' },
      slack: { by: 'json', pointer: '/event_id' },
      standard: { by: 'header', name: 'webhook-id' },
      meta: { by: 'signature' },
      hmac: { by: 'event' },
      token: { by: 'event' },
      none: { by: 'none' },
    })
  })

  test('what it says goes before what its scheme says', () => {
    const dedupe = (text: string) => sourceOf({ verify: 'github', dedupe: text }, 's').dedupe
    assert.deepEqual(dedupe('header:X-Other-Id'), { by: 'header', name: 'x-other-id' })
    assert.deepEqual(dedupe('json:/data/0/~1~0id'), { by: 'json', pointer: '/data/0/~1~0id' })
    assert.deepEqual(dedupe('signature'), { by: 'signature' })
    assert.deepEqual(dedupe('none'), { by: 'none' })
    assert.deepEqual(sourceOf({ verify: 'none', cloudevents: true }).dedupe, { by: 'event' })
    assert.deepEqual(sourceOf({ verify: 'none', cloudevents: true, dedupe: 'none' }).dedupe, { by: 'none' })
    const { keep, types, header } = sourceOf(
      {
        verify: 'token',
        header: 'X-Key',
        keep: ['X-*', 'Authorization', '*'],
        types: ['Image/*', 'TEXT/plain'],
      },
      's',
    )
    assert.deepEqual(
      [keep, types, header],
      [['x-*', 'authorization', '*'], ['image/*', 'text/plain'], 'x-key'],
    )
  })

  test('a tolerance is a duration or a number of seconds', () => {
    for (const [tolerance, toleranceMs] of [
      ['300s', 300_000],
      ['5m', 300_000],
      [300, 300_000],
      ['1500ms', 1500],
      ['1d', 86_400_000],
      [1, 1000],
    ]) {
      assert.equal(sourceOf({ verify: 'stripe', tolerance }, 's').toleranceMs, toleranceMs)
    }
  })

  test('begins with a byte order mark, or not', () => {
    assert.deepEqual(sourcesOf('\uFEFF { } '), {})
  })

  test('names that objects have by themselves are names as any other', () => {
    const file = '{"constructor": {"verify": "none"}, "tostring": {"verify": "none"}}'
    assert.deepEqual(Object.keys(sourcesOf(file)), ['constructor', 'tostring'])
    assert.match(problemsOf('{"__proto__": {"verify": "none"}}')[0]!, /^"__proto__": expected a name of /)
  })
})

describe('secrets', () => {
  const keyOf = (bytes: string | Buffer) =>
    Buffer.from(sourceOf({ verify: 'github' }, Buffer.from(bytes)).keys[0]!, 'base64')

  test('one line feed at the end of a file is cut, of any line', () => {
    for (const [file, key] of [
      ['s', 's'],
      ['s\n', 's'],
      ['s\r\n', 's'],
      ['s\n\n', 's\n'],
      [' s \n', ' s '],
    ] as const) {
      assert.equal(keyOf(file).toString(), key, JSON.stringify(file))
    }
    assert.deepEqual(keyOf(Buffer.from([0xff, 0, 0x80])), Buffer.from([0xff, 0, 0x80]))
  })

  test('paths are relative to the directory of the sources file', () => {
    const read: string[] = []
    const file = { a: { verify: 'github', secret: ['file:own.txt', 'file:/abs', 'file:../up'] } }
    sourcesOf(file, { read: (path) => Buffer.from(`${read.push(path)}`) })
    assert.deepEqual(read, ['/etc/mailroom/own.txt', '/abs', '/etc/up'])
  })

  test('a literal one is refused and not shown', () => {
    const file = {
      github: { verify: 'github', secret: ['env:SECRET', 'hunter2'] },
      stripe: { verify: 'stripe', secret: 'whsec_hunter2' },
      meta: { verify: 'meta', secret: 'env:SECRET', verifyToken: 'hunter2' },
    }
    const problems = problemsOf(file)
    assert.deepEqual(problems, [
      'github.secret[1]: expected env:NAME or file:PATH, got a literal',
      'stripe.secret: expected env:NAME or file:PATH, or a list of one to 4, got a literal',
      'meta.verifyToken: expected env:NAME or file:PATH, got a literal',
    ])
  })

  test('an empty, missing or unreadable one is named by where it should be', () => {
    const secret = ['env:EMPTY', 'env:MISSING', 'file:/missing']
    assert.deepEqual(problemsOf({ github: { verify: 'github', secret } }), [
      'github.secret[0]: expected env:EMPTY to have a value, got an empty one',
      'github.secret[1]: expected env:MISSING to be there: the variable is not set',
      "github.secret[2]: expected file:/missing to be there: ENOENT: no such file or directory, open '/missing'",
    ])
    assert.deepEqual(
      problemsOf({ a: { verify: 'github', secret: 'file:/x' } }, { read: () => Buffer.from('\n') }),
      ['a.secret: expected file:/x to have a value, got an empty one'],
    )
  })

  test('there are one to four', () => {
    const several = 'expected env:NAME or file:PATH, or a list of one to 4, got'
    const of = (secret?: unknown) => problemsOf({ a: { verify: 'github', secret } })
    assert.deepEqual(of(Array(4).fill('env:SECRET')), [])
    assert.deepEqual(of(Array(5).fill('env:SECRET')), [`a.secret: ${several} a list of 5`])
    assert.deepEqual(of([]), [`a.secret: ${several} a list of 0`])
    assert.deepEqual(of(), [`a.secret: ${several} nothing`])
    assert.deepEqual(of(7), [`a.secret: ${several} 7`])
    assert.deepEqual(of(null), [`a.secret: ${several} null`])
    assert.deepEqual(of([7]), ['a.secret[0]: expected env:NAME or file:PATH, got 7'])
  })

  test('that of Standard Webhooks is Base64', () => {
    const of = (secret: string) =>
      problemsOf({ a: { verify: 'standard', secret } }, { env: { ...ENV, BARE: 'whsec_' } })
    assert.deepEqual(of('env:STANDARD'), [])
    const problem = (name: string, got: string) => [
      `a.secret: expected env:${name} to have whsec_ and a key in Base64, got ${got}`,
    ]
    assert.deepEqual(of('env:SECRET'), problem('SECRET', 'something else'))
    assert.deepEqual(of('env:BARE'), problem('BARE', 'something else'))
    assert.deepEqual(of('env:EMPTY'), problem('EMPTY', 'an empty one'))
  })
})

describe('mistakes', () => {
  test('are told all at once, of all sources', () => {
    const file = {
      github: { verify: 'github', secret: ['env:SECRET', 'literal'], keep: ['x-*', 'a b'], maxBytes: 0 },
      Upper: {
        verify: 'githubb',
        secret: 'literal',
        tolerance: '5m',
        keep: 'x-*',
        maxBytes: 1.5,
        anwser: 200,
      },
      form: { verify: 'none', answer: 203, browser: 'yes', types: ['json', 'a/b; c=d'], dedupe: 'signature' },
      hook: {
        verify: 'hmac',
        secret: 'env:MISSING',
        header: 'a b',
        algorithm: 'md5',
        encoding: 'hex32',
        prefix: 1,
      },
      empty: {},
      list: [],
      text: 'github',
    }
    const schemes = 'github, gitlab, stripe, shopify, slack, meta, standard, hmac, token, none'
    const media = 'expected a media type such as application/json or image/*, got'
    assert.deepEqual(problemsOf(file, { mayBeOpen: false }), [
      'github.secret[1]: expected env:NAME or file:PATH, got a literal',
      'github.keep[1]: expected a header\'s name, or a beginning such as x-*, got "a b"',
      'github.maxBytes: expected a whole number of bytes from 1 to 1048576, which is --max-message, got 0',
      '"Upper": expected a name of 1 to 64 of a-z, 0-9, - and _, that begins with a letter or digit',
      `Upper.verify: expected one of ${schemes}, got "githubb"`,
      'Upper.secret: expected env:NAME or file:PATH, or a list of one to 4, got a literal',
      `Upper.keep: expected a list of headers' names, got "x-*"`,
      'Upper.maxBytes: expected a whole number of bytes from 1 to 1048576, which is --max-message, got 1.5',
      'Upper.anwser: there is no such field; did you mean `answer`?',
      'form.dedupe: expected header:NAME, json:/pointer or none, got "signature"',
      `form.types[0]: ${media} "json"`,
      `form.types[1]: ${media} "a/b; c=d"`,
      'form.answer: expected 200, 201, 202 or 204, got 203',
      'form.browser: expected true or false, got "yes"',
      'form.verify: none lets anybody post who reaches --host, which is not loopback; it needs --open',
      'hook.secret: expected env:MISSING to be there: the variable is not set',
      'hook.header: expected the name of a header, got "a b"',
      'hook.prefix: expected a text, got 1',
      'hook.algorithm: expected sha256, sha1 or sha512, got "md5"',
      'hook.encoding: expected hex or base64, got "hex32"',
      `empty.verify: expected one of ${schemes}, got nothing`,
      'list: expected an object, got a list of 0',
      'text: expected an object, got "github"',
    ])
  })

  test('a field of other schemes, and one that there is not, are told apart', () => {
    const file = {
      github: { verify: 'github', secret: 'env:SECRET', tolerance: '5m', anwser: 200, xyzzy: 1 },
      none: { verify: 'none', secret: 'env:SECRET' },
    }
    assert.deepEqual(problemsOf(file), [
      'github.tolerance: verify "github" does not take it; it takes verify, secret, dedupe, keep, types, maxBytes, ' +
        'answer, browser, cloudevents',
      'github.anwser: there is no such field; did you mean `answer`?',
      'github.xyzzy: there is no such field',
      'none.secret: verify "none" does not take it; it takes verify, dedupe, keep, types, maxBytes, answer, browser, ' +
        'cloudevents',
    ])
  })

  test('names are checked', () => {
    const file = (name: string) => ({ [name]: { verify: 'none' } })
    for (const right of ['a', '0', 'a-b_c', 'a'.repeat(64)]) assert.deepEqual(problemsOf(file(right)), [])
    for (const wrong of ['', '-a', '_a', 'A', 'a.b', 'a/b', 'a b', 'ä', 'a\n', 'a'.repeat(65)]) {
      assert.equal(problemsOf(file(wrong)).length, 1, wrong)
    }
  })

  test('a tolerance out of its range, or no time at all', () => {
    for (const tolerance of ['2d', '0s', '500ms', 'soon', '5', '1.5s', 0, -1, 1.5, 86_401, true, null]) {
      assert.deepEqual(problemsOf({ a: { verify: 'stripe', secret: 'env:SECRET', tolerance } }), [
        `a.tolerance: expected a duration from 1s to 1d, such as 300s, or a number of seconds, got ${JSON.stringify(tolerance)}`,
      ])
    }
  })

  test('a dedupe that is none', () => {
    for (const dedupe of [
      '',
      'header:',
      'header:a b',
      'json:',
      'json:id',
      'json:/a~2',
      'json:/a~',
      'body',
      'Signature',
      5,
    ]) {
      assert.deepEqual(problemsOf({ a: { verify: 'github', secret: 'env:SECRET', dedupe } }), [
        `a.dedupe: expected header:NAME, json:/pointer, signature or none, got ${JSON.stringify(dedupe)}`,
      ])
    }
  })

  test('the header with the secret is no id', () => {
    const file = {
      gitlab: { verify: 'gitlab', secret: 'env:SECRET', dedupe: 'header:X-Gitlab-Token' },
      bearer: { verify: 'token', secret: 'env:SECRET', dedupe: 'header:authorization' },
      token: { verify: 'token', secret: 'env:SECRET', header: 'X-Key', dedupe: 'header:x-key' },
      right: { verify: 'token', secret: 'env:SECRET', header: 'X-Key', dedupe: 'header:x-id' },
    }
    assert.deepEqual(
      problemsOf(file),
      ['gitlab.dedupe: x-gitlab-token', 'bearer.dedupe: authorization', 'token.dedupe: X-Key'].map(
        (place) => `${place} is the same in every request, so each would be a repeat of the first`,
      ),
    )
  })

  test('what is signed has the body once and the time at most once, and a time is signed', () => {
    const hmac = (fields: object) =>
      problemsOf({ a: { verify: 'hmac', secret: 'env:SECRET', header: 'X-S', ...fields } })
    const timestamp = 'header:X-T'
    assert.deepEqual(hmac({}), [])
    assert.deepEqual(hmac({ signed: '{body}' }), [])
    assert.deepEqual(hmac({ signed: '{timestamp}.{body}', timestamp, tolerance: 5 }), [])
    assert.deepEqual(hmac({ signed: 'v0:{timestamp}:{body}', timestamp }), [])
    for (const signed of [
      '',
      'body',
      '{timestamp}',
      '{body}{body}',
      '{timestamp}{timestamp}{body}',
      '{id}.{body}',
      '{{body}}',
    ]) {
      assert.equal(
        hmac({ signed, ...(signed.includes('{timestamp}') && { timestamp }) })[0],
        `a.signed: expected {body} or {timestamp}.{body}, got ${JSON.stringify(signed)}`,
      )
    }
    assert.deepEqual(hmac({ signed: '{timestamp}.{body}' }), [
      'a.timestamp: expected header:NAME, as signed has {timestamp}, got nothing',
    ])
    assert.deepEqual(hmac({ timestamp }), [
      'a.timestamp: it means nothing unless it is signed: signed has no {timestamp}',
    ])
    assert.deepEqual(hmac({ tolerance: 5 }), ['a.tolerance: no time is signed: signed has no {timestamp}'])
    assert.deepEqual(hmac({ signed: '{timestamp}.{body}', timestamp: 'X-T' }), [
      'a.timestamp: expected header:NAME, got "X-T"',
    ])
  })

  test('a limit beyond --max-message', () => {
    const file = (maxBytes: number) => ({ a: { verify: 'none', maxBytes } })
    assert.equal(sourcesOf(file(MiB))['a']?.maxBytes, MiB)
    assert.equal(sourcesOf(file(2 * MiB), { maxMessageBytes: 2 * MiB })['a']?.maxBytes, 2 * MiB)
    assert.equal(problemsOf(file(MiB + 1)).length, 1)
    assert.equal(problemsOf(file(1.5)).length, 1)
  })

  test('a source that checks nothing, unless it may', () => {
    const file = { a: { verify: 'none' } }
    assert.deepEqual(problemsOf(file, { mayBeOpen: true }), [])
    assert.equal(problemsOf(file, { mayBeOpen: false }).length, 1)
    const signed = { a: { verify: 'github', secret: 'env:SECRET' } }
    assert.deepEqual(problemsOf(signed, { mayBeOpen: false }), [])
  })

  test('keys that stand twice, at every level and in every spelling', () => {
    const file = String.raw`{
  "a": { "verify": "none", "browser": true, "verify": "none" },
  "b": { "verify": "none" },
  "\u0061": { "verify": "none" }
}`
    assert.deepEqual(problemsOf(file), [
      'line 2, column 45: "verify" is there twice',
      'line 4, column 3: "a" is there twice',
    ])
  })

  test('a file that is no JSON, no object, or not there', () => {
    for (const [file, problem] of [
      ['', 'line 1, column 1: expected a value, got the end'],
      ['{\n  "a": {"verify": none}\n}', 'line 2, column 19: expected a value, got "n"'],
      ['{"a": {"verify": "none"},}', 'line 1, column 26: expected a name in double quotes, got "}"'],
      ['[]', 'expected an object of sources by name, got a list of 0'],
      ['null', 'expected an object of sources by name, got null'],
    ] as const) {
      assert.deepEqual(problemsOf(file), [problem])
    }
    const read = () => {
      throw new Error(`ENOENT: no such file or directory, open '/x'`)
    }
    assert.throws(
      () => readSources('/x', { env: {}, maxMessageBytes: 1, mayBeOpen: true, read }),
      /--sources \/x: ENOENT: no such file/,
    )
  })
})

describe('shipped files', () => {
  test('config/sources.schema.json is what `npm run schema` writes', () => {
    const shipped = JSON.parse(readFileSync('config/sources.schema.json', 'utf8'))
    assert.deepEqual(shipped, JSON.parse(JSON.stringify(sourcesJsonSchema())))
  })

  test('the examples are sources', () => {
    const examples = readdirSync('examples').filter((name) => name.endsWith('.json'))
    assert.ok(examples.includes('github.json'))
    for (const name of examples) {
      const env = { GITHUB_WEBHOOK_SECRET: 's3cret' }
      const sources = readSources(`examples/${name}`, { env, maxMessageBytes: MiB, mayBeOpen: false })
      assert.ok(Object.keys(sources).length > 0, name)
    }
  })
})
