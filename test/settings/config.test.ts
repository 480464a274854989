/** Settings: flags, else variables, else defaults; all that is wrong at once, by its name. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { isMailroomError } from '../../src/runtime/errors.ts'
import { CLIENT_SETTINGS, resolveClientConfig, resolveConfig, SETTINGS } from '../../src/settings/config.ts'
import { serviceVariables, variableOf } from '../../src/settings/settings-reader.ts'

const CLIENT_FLAGS = Object.keys(CLIENT_SETTINGS)

/** What `mailroom start` would be told. */
function start(flags: Record<string, unknown>, env: Record<string, string> = {}, surplus: string[] = []) {
  return resolveConfig({ flags, env, surplus })
}

function problemsOf(work: () => unknown): readonly string[] {
  try {
    work()
  } catch (error) {
    if (isMailroomError(error, 'MR_CONFIG_INVALID')) return error.details.problems
    throw error
  }
  return []
}

test('without flags and variables the defaults are those of the help', () => {
  const config = start({})
  assert.deepEqual(config.counts, { facade: 1, logging: 3, messages: 2 })
  assert.deepEqual(
    [config.host, config.port, config.backend, config.data],
    ['127.0.0.1', 8080, 'embedded', resolve('data')],
  )
  assert.deepEqual([config.handler, config.handlerTimeoutMs, config.handlerConcurrency], [null, 30_000, 8])
  assert.deepEqual([config.attempts, config.retryMinMs, config.retryMaxMs], [24, 1000, 3_600_000])
  assert.deepEqual(
    [config.lanes, config.retentionMs, config.token, config.open],
    [null, 7 * 86_400_000, null, false],
  )
})

test('every flag is also a variable; the flag wins', () => {
  assert.equal(variableOf('handler-timeout'), 'MAILROOM_HANDLER_TIMEOUT')
  assert.equal(start({}, { MAILROOM_HANDLER_TIMEOUT: '2m' }).handlerTimeoutMs, 120_000)
  assert.equal(
    start({ 'handler-timeout': '500ms' }, { MAILROOM_HANDLER_TIMEOUT: '2m' }).handlerTimeoutMs,
    500,
  )
  assert.equal(start({}, { MAILROOM_OPEN: '1', MAILROOM_HOST: '0.0.0.0' }).open, true)
  assert.equal(start({}, { MAILROOM_PORT: '' }).port, 8080, 'an empty variable is as good as none')
})

test('all problems of flags, variables and words are reported at once', () => {
  const flags = {
    prot: '1',
    x: true,
    facade: ['1', '2'],
    messages: '2.5',
    handler: 'nowhere.js',
    open: 'maybe',
  }
  const env = {
    MAILROOM_RETENTION: '7',
    MAILROOM_TOKNE: 's',
    MAILROOM_URL: 'a client has this',
    PATH: '/bin',
  }
  assert.deepEqual(
    problemsOf(() => start(flags, env, ['hello'])),
    [
      '`--prot` is not a flag of this command; did you mean `--port`?',
      '`-x` is not a flag of this command',
      '"hello" is one word too many: what has spaces goes in quotes',
      '`MAILROOM_TOKNE` is not a setting; did you mean `MAILROOM_TOKEN`?',
      'Expected `--facade` to be given once, got "1 and 2"',
      'Expected `--messages` to be a whole number from 0 to 64, got "2.5"',
      'Expected `MAILROOM_RETENTION` to be a duration from 1m to 3650d, such as 30s (units: ms, s, m, h, d), got "7"',
      'Expected `--handler` to be a file that exists, got "nowhere.js"',
      'Expected `--open` to be true or false, got "maybe"',
    ].sort(byPlace(problemsOf(() => start(flags, env, ['hello'])))),
  )
})

/** The order of the table is not what the test is about. */
function byPlace(actual: readonly string[]): (a: string, b: string) => number {
  return (a, b) => actual.indexOf(a) - actual.indexOf(b)
}

test('the name of a setting in the configuration is not a flag', () => {
  assert.deepEqual(
    problemsOf(() => start({ handlerTimeoutMs: '1s' })),
    ['`--handlerTimeoutMs` is not a flag of this command'],
  )
})

test('a configuration crosses IPC unchanged', () => {
  const config = start({ handler: import.meta.filename, backend: 'hazelcast' })
  assert.deepEqual(JSON.parse(JSON.stringify(config)), config)
})

test('numbers are digits only, and within their limits', () => {
  for (const bad of ['', ' 1', '1 ', '-1', '+1', '1e1', '0x1', '1.0', '65', '9999999999', 'one', '１']) {
    assert.equal(problemsOf(() => start({ facade: bad })).length, 1, bad)
  }
  assert.equal(start({ facade: '64' }).counts.facade, 64)
  assert.equal(start({ port: '0' }).port, 0)
  assert.equal(problemsOf(() => start({ port: '65536' })).length, 1)
})

test('sizes are bytes, or have a unit, and depend on the backend', () => {
  const max = (size: string, backend = 'embedded') => start({ 'max-message': size, backend }).maxMessageBytes
  assert.equal(start({}).maxMessageBytes, 1024 * 1024)
  assert.deepEqual(
    ['1024', '65536', '256KiB', '25MiB'].map((size) => max(size)),
    [1024, 65_536, 262_144, 26_214_400],
  )
  for (const bad of [
    '',
    '1',
    '0.5MiB',
    '1M',
    '1mib',
    '1 MiB',
    '26MiB',
    '26214401',
    '-1KiB',
    '999999999MiB',
  ]) {
    const [problem] = problemsOf(() => max(bad))
    const takes = 'a size from 1KiB to 25MiB, such as 256KiB (units: KiB, MiB; none: bytes)'
    assert.equal(problem, `Expected \`--max-message\` to be ${takes}, got ${JSON.stringify(bad)}`)
  }
  assert.equal(max('1MiB', 'hazelcast'), 1024 * 1024)
  assert.deepEqual(
    problemsOf(() => max('2MiB', 'hazelcast')),
    ['Expected `--max-message` to be at most 1MiB with the Hazelcast backend, got 2097152 bytes'],
  )
})

test('durations carry their unit', () => {
  const ms = (value: string) => start({ 'handler-timeout': value }).handlerTimeoutMs
  assert.deepEqual(['1ms', '2s', '3m', '4h', '1d'].map(ms), [1, 2000, 180_000, 14_400_000, 86_400_000])
  for (const bad of ['30', '0s', '1.5s', '-1s', '1w', 's', '2d', '1s ']) {
    assert.equal(problemsOf(() => start({ 'handler-timeout': bad })).length, 1, bad)
  }
})

test('the first pause before a retry is the longest at most', () => {
  assert.deepEqual(
    problemsOf(() => start({ 'retry-min': '2m', 'retry-max': '1m' })),
    ['Expected `--retry-min` to be at most `--retry-max`, which is 60000 ms, got 120000 ms'],
  )
  assert.equal(start({ 'retry-min': '1m', 'retry-max': '1m' }).retryMinMs, 60_000)
  for (const attempts of ['0', '1001', '2.5']) {
    assert.equal(problemsOf(() => start({ attempts })).length, 1, attempts)
  }
})

test('a bad secret is never shown', () => {
  for (const work of [
    () => start({ token: 'secret' }),
    () => start({ token: ['secret', 'secret'] }),
    () => start({}, { MAILROOM_SECRET: 'secret' }),
    () => resolveClientConfig({ flags: { token: 'my secret' }, env: {} }, CLIENT_FLAGS),
  ]) {
    const problems = problemsOf(work)
    assert.equal(problems.length, 1)
    assert.doesNotMatch(problems[0]!.replace('MAILROOM_SECRET', ''), /secret/i)
  }
})

test('--forward takes a URL without a user, and what is refused is not shown', () => {
  const forward = (url: string) => start({ forward: url }).forward
  for (const url of ['http://127.0.0.1:3000/', 'https://example.com/in?token=abc', 'http://[::1]:3000']) {
    assert.equal(forward(url), url)
  }
  const problem =
    'Expected `--forward` to be an http or https URL without a user name or password, got something else'
  for (const bad of [
    '',
    'example.com',
    'localhost:3000',
    'ftp://x/',
    'http://',
    'http://me@x/',
    'http://:pw@x/',
  ]) {
    assert.deepEqual(
      problemsOf(() => forward(bad)),
      [problem],
      bad,
    )
  }
})

test('--forward-secret names a variable or a file, and the secret is never shown', (context) => {
  const at = mkdtempSync(join(tmpdir(), 'mailroom-config-'))
  context.after(() => rmSync(at, { recursive: true }))
  const file = (text: string) => {
    writeFileSync(join(at, 'secret'), text)
    return `file:${join(at, 'secret')}`
  }
  const secret = (name: string, env = {}) =>
    start({ forward: 'http://127.0.0.1:3000/', 'forward-secret': name }, env).forwardSecret
  assert.equal(secret('env:KEY', { KEY: 'a secret' }), 'a secret')
  assert.equal(secret(file('a secret\n')), 'a secret')
  assert.equal(secret(file('two\nlines\r\n')), 'two\nlines')
  assert.equal(secret(file('whsec_c2VjcmV0')), 'whsec_c2VjcmV0')
  const wrong = (name: string, env = {}) =>
    problemsOf(() => secret(name, env)).map((problem) => problem.replace(/^Expected `--forward-secret` /, ''))
  for (const name of ['hunter2', 'env:', 'file:', 'env:hunter-2', 'ENV:KEY', '']) {
    assert.deepEqual(
      wrong(name, { KEY: 'a secret' }),
      ['to be env:NAME or file:PATH, got something else'],
      name,
    )
  }
  assert.deepEqual(wrong('env:KEY'), ['to name a variable that is set, got env:KEY'])
  assert.deepEqual(wrong('env:KEY', { KEY: '' }), ['to name a secret that is not empty, got env:KEY'])
  assert.deepEqual(wrong(file('\n')), [`to name a secret that is not empty, got file:${at}/secret`])
  assert.deepEqual(wrong(`file:${at}`), [`to name a file that can be read, got file:${at} (EISDIR)`])
  for (const key of ['whsec_', 'whsec_not-base64']) {
    assert.deepEqual(wrong('env:KEY', { KEY: key }), [
      'Expected the secret that `--forward-secret` names to be Base64 after its `whsec_`',
    ])
  }
})

test('--forward and --handler exclude each other; a secret needs something to sign', () => {
  assert.deepEqual(
    problemsOf(() => start({ forward: 'http://127.0.0.1:3000/', handler: import.meta.filename })),
    ['Expected `--forward` or `--handler`, got both: a message is forwarded or handled'],
  )
  assert.deepEqual(
    problemsOf(() => start({ 'forward-secret': 'env:KEY' }, { KEY: 'a secret' })),
    ['Expected `--forward` to be given with `--forward-secret`: nothing else is signed'],
  )
})

test('beyond this machine --token or --open is required', () => {
  const token = 'a token of sixteen or more'.replaceAll(' ', '-')
  for (const host of [
    '0.0.0.0',
    '::',
    '10.1.2.3',
    'mail.example',
    'localhost.example',
    'mail.localhost',
    '127.0.0.1.example',
  ]) {
    assert.match(problemsOf(() => start({ host })).join(), /`--token`.*`--open`/)
    assert.equal(start({ host, token }).token, token)
    assert.equal(start({ host, open: true }).open, true)
  }
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) assert.equal(start({ host }).host, host)
})

test('--read-token and --post-token need --token, and all three differ', () => {
  const [token, read, post] = ['a', 'b', 'c'].map((letter) => letter.repeat(16)) as [string, string, string]
  const config = start({ token, 'read-token': read }, { MAILROOM_POST_TOKEN: post })
  assert.deepEqual([config.token, config.readToken, config.postToken], [token, read, post])
  const alone = (flag: string) =>
    `Expected \`--token\` to be given with \`${flag}\`: nobody could scale, restart or change anything without it`
  assert.deepEqual(
    problemsOf(() => start({ 'read-token': read })),
    [alone('--read-token')],
  )
  assert.deepEqual(
    problemsOf(() => start({ 'post-token': post, open: true })),
    [alone('--post-token')],
  )
  const same = (flag: string, other: string) =>
    `Expected \`${flag}\` to be another than \`${other}\`: a token gives one role`
  assert.deepEqual(
    problemsOf(() => start({ token, 'read-token': token, 'post-token': token })),
    [same('--read-token', '--token'), same('--post-token', '--token')],
  )
  assert.deepEqual(
    problemsOf(() => start({ token, 'read-token': read, 'post-token': read })),
    [same('--post-token', '--read-token')],
  )
  assert.deepEqual(
    problemsOf(() => start({ token, 'read-token': 'short' })),
    ['Expected `--read-token` to be 16 to 512 visible ASCII characters, got something else'],
  )
})

test('a client command takes only its own flags; variables of other commands are allowed', () => {
  const env = { MAILROOM_URL: 'http://mail:1/', MAILROOM_PORT: '1', MAILROOM_FILE: '-' }
  const config = resolveClientConfig({ flags: { json: true }, env }, ['url', 'token', 'json'])
  assert.deepEqual(
    [config.url, config.json, config.file, config.timeoutMs],
    ['http://mail:1', true, null, 60_000],
  )
  assert.equal(resolveClientConfig({ flags: {}, env }, CLIENT_FLAGS).file, '-')
  const own = ['url', 'token']
  assert.deepEqual(
    problemsOf(() =>
      resolveClientConfig({ flags: { json: true, urk: 'x' }, env: { MAILROOM_JSN: '1' } }, own),
    ),
    [
      '`--json` is not a flag of this command',
      '`--urk` is not a flag of this command; did you mean `--url`?',
      '`MAILROOM_JSN` is not a setting; did you mean `MAILROOM_JSON`?',
    ],
  )
})

test('--url takes the URL of a node, with or without a path', () => {
  const url = (value: string) => resolveClientConfig({ flags: { url: value }, env: {} }, CLIENT_FLAGS).url
  assert.equal(url('https://mail.example/mailroom//'), 'https://mail.example/mailroom')
  for (const bad of [
    '',
    'localhost:8080',
    'ftp://x',
    'http://',
    'http://x/?a',
    'http://x/#a',
    'http://me@x',
  ]) {
    assert.match(problemsOf(() => url(bad)).join(), /to be a URL such as http:\/\/127\.0\.0\.1:8080/, bad)
  }
})

test('--file takes a file or pipe that can be read', (context) => {
  const at = mkdtempSync(join(tmpdir(), 'mailroom-config-'))
  context.after(() => rmSync(at, { recursive: true }))
  writeFileSync(join(at, 'lines'), '')
  const file = (value: string) => resolveClientConfig({ flags: { file: value }, env: {} }, CLIENT_FLAGS).file
  assert.equal(file(join(relative('.', at), 'lines')), join(at, 'lines'))
  assert.equal(file('-'), '-')
  for (const bad of ['', '.', 'none']) {
    assert.match(problemsOf(() => file(bad)).join(), /`--file` to be a file that can be read/)
  }
})

test('every setting has a help of one line and accepts its own default', () => {
  const all = [...Object.entries(SETTINGS), ...Object.entries(CLIENT_SETTINGS)]
  for (const [flag, { help, takes, fallback }] of all) {
    assert.match(help, /^\S[^\n]+$/, flag)
    assert.match(takes, /^\S[^\n]+$/, flag)
    assert.equal(typeof (fallback ?? ''), 'string', flag)
  }
  const defaults = (settings: typeof SETTINGS) =>
    Object.fromEntries(
      Object.entries(settings).flatMap(([flag, { fallback }]) =>
        fallback === undefined ? [] : [[flag, fallback]],
      ),
    )
  assert.deepEqual(start(defaults(SETTINGS)), start({}))
  const client = (flags: Record<string, unknown>) => resolveClientConfig({ flags, env: {} }, CLIENT_FLAGS)
  assert.deepEqual(client(defaults(CLIENT_SETTINGS)), client({}))
})

const SERVICE = {
  MAILROOM_PORT: 'tcp://10.96.0.12:8080',
  MAILROOM_SERVICE_HOST: '10.96.0.12',
  MAILROOM_SERVICE_PORT: '8080',
  MAILROOM_SERVICE_PORT_HTTP_API: '8080',
  MAILROOM_PORT_8080_TCP: 'tcp://10.96.0.12:8080',
  MAILROOM_PORT_8080_TCP_PROTO: 'tcp',
  MAILROOM_PORT_8080_TCP_PORT: '8080',
  MAILROOM_PORT_8080_TCP_ADDR: '10.96.0.12',
  MAILROOM_SERVICE_PORT_80_TCP: 'tcp://10.96.0.13:80',
  MAILROOM_INTERNAL_PORT: 'tcp://[fd00::12]:7100',
  MAILROOM_INTERNAL_SERVICE_HOST: 'fd00::12',
  MAILROOM_INTERNAL_PORT_53_UDP: 'udp://[fd00::12]:53',
}

test('variables that Kubernetes sets for a Service named mailroom or mailroom-… are ignored', () => {
  assert.deepEqual(serviceVariables({ ...SERVICE, MAILROOM_DATA: '/tmp', PORT: '1' }), Object.keys(SERVICE))
  assert.equal(resolveConfig({ flags: {}, env: SERVICE }).port, 8080)
  assert.equal(resolveConfig({ flags: { port: '9000' }, env: SERVICE }).port, 9000)
  assert.equal(resolveClientConfig({ flags: {}, env: SERVICE }, ['url']).url, 'http://127.0.0.1:8080')
})

test('a variable with only the name or only the value of a service variable is refused', () => {
  for (const [name, value, expected] of [
    ['MAILROOM_PROT', 'tcp://10.96.0.12:8080', /`MAILROOM_PROT` is not a setting; did you mean/],
    ['MAILROOM_PORT', 'tcp://10.96.0.12', /Expected `MAILROOM_PORT` to be a whole number .*"tcp:/],
    ['MAILROOM_PORT', '80800', /Expected `MAILROOM_PORT` to be/],
    ['MAILROOM_SERVICE_HOST', 'mailroom', /`MAILROOM_SERVICE_HOST` is not a setting/],
    ['MAILROOM_SERVICE_PORT', 'http', /`MAILROOM_SERVICE_PORT` is not a setting/],
    ['MAILROOM_FACADE_PORT', '9000', /`MAILROOM_FACADE_PORT` is not a setting/],
    ['MAILROOM_PORT_8080_TCP_ADDR', 'here', /`MAILROOM_PORT_8080_TCP_ADDR` is not/],
  ] as const) {
    const problems = problemsOf(() => resolveConfig({ flags: {}, env: { [name]: value } }))
    assert.match(problems.join(), expected)
  }
})

test('a node is not forwarded to itself', () => {
  const given = (flags: Record<string, string>) => () => resolveConfig({ flags, env: {} })
  for (const forward of [
    'http://127.0.0.1:8080/in/a',
    'http://localhost:8080/',
    'http://[::1]:8080/messages',
  ]) {
    assert.throws(given({ forward }), { code: 'MR_CONFIG_INVALID', message: /this node itself/ })
  }
  assert.throws(
    given({ forward: 'http://here/', host: 'here', port: '80', open: 'true' }),
    /this node itself/,
  )
  given({ forward: 'http://127.0.0.1:8081/' })()
  given({ forward: 'http://other:8080/' })()
})
