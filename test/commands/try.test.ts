/** `mailroom try` in front of the real API. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readSources } from '../../src/inbox/sources.ts'
import { contentOf } from '../../src/storage/content.ts'
import { runHere } from '../support/command.ts'
import { startApi } from '../support/public-api.ts'

const SECRET = "It's a Secret to Everybody"
const DECLARED = {
  github: { verify: 'github', secret: 'env:SECRET' },
  gitlab: { verify: 'gitlab', secret: 'env:SECRET' },
  bearer: { verify: 'token', secret: 'env:SECRET' },
  slack: { verify: 'slack', secret: 'env:SECRET', tolerance: '1d' },
  form: { verify: 'none', types: ['application/x-www-form-urlencoded'], answer: 204 },
}

/** A node with these sources, and a file of them; the command sees the variables of `env`. */
async function open(context: TestContext, env: Record<string, string> = { SECRET }) {
  const at = mkdtempSync(join(tmpdir(), 'mailroom-try-'))
  context.after(() => rmSync(at, { recursive: true }))
  const file = join(at, 'sources.json')
  writeFileSync(file, JSON.stringify({ ...DECLARED, unheard: DECLARED.form }))
  const { unheard: _, ...inbox } = readSources(file, {
    env: { SECRET },
    maxMessageBytes: 1000,
    mayBeOpen: true,
  })
  const { facade, server } = await startApi(context, { inbox, token: 'a token that senders do not have' })
  const url = `http://127.0.0.1:${server.port}`
  const tryOut = (...args: string[]) =>
    runHere(['try', ...args], { env: { ...env, MAILROOM_URL: url, MAILROOM_SOURCES: file } })
  return { facade, url, tryOut }
}

test('try shows the signed request, the answer and where to look next', async (t) => {
  const { facade, url, tryOut } = await open(t)
  const { code, stdout, stderr } = await tryOut('github')
  assert.equal(code, 0, stderr)
  const [message] = facade.messages
  const { source, text } = contentOf(message!.text)
  assert.equal(source, 'github')
  const [request, body, answer] = stdout.trimEnd().split('\n\n')
  const lines = request!.split('\n')
  assert.equal(lines[0], `POST ${url}/in/github`)
  assert.ok(lines.includes('x-github-event: ping'))
  assert.ok(lines.some((line) => /^x-hub-signature-256: sha256=[\da-f]{64}$/.test(line)))
  assert.equal(body, text)
  assert.match(answer!, new RegExp(`^200 \\{"id":"${message!.id}"`))
  const look = `curl '${url}/messages/${message!.id}?wait=30'`
  assert.equal(stderr, `\nIt is stored. What became of it: ${look}\n`)
  const token = 'the-token-of-the-operator'
  const withToken = await tryOut('form', '--token', token)
  assert.match(withToken.stderr, /\?wait=30' -H "Authorization: Bearer \$MAILROOM_TOKEN"\n$/)
  assert.ok(!(withToken.stdout + withToken.stderr).includes(token))
  assert.ok(!(stdout + stderr).includes(SECRET))
})

test('try shows no secret where the secret itself is sent, and an answer without a body', async (t) => {
  const { facade, tryOut } = await open(t)
  for (const [source, shown] of [
    ['gitlab', 'x-gitlab-token: (the secret)'],
    ['bearer', 'authorization: (the secret)'],
  ] as const) {
    const { code, stdout, stderr } = await tryOut(source)
    assert.equal(code, 0, stderr)
    assert.ok(stdout.includes(`\n${shown}\n`), stdout)
    assert.ok(!(stdout + stderr).includes(SECRET))
  }
  const { code, stdout } = await tryOut('form')
  assert.equal(code, 0)
  assert.match(stdout, /\n204 \(empty\)\n$/)
  // Each is a message of its own, however often it is tried.
  await tryOut('gitlab')
  assert.equal(facade.messages.length, 4)
})

test('a refusal ends try with code 1 and says what to look at', async (t) => {
  const { facade, tryOut } = await open(t, { SECRET: 'another secret' })
  const refused = await tryOut('github')
  assert.equal(refused.code, 1)
  assert.match(refused.stdout, /\n401 \{.*MR_SIGNATURE_INVALID.*\}\n$/)
  assert.match(
    refused.stderr,
    /^\nThe log of the node says why\. Has it the same file and the same secrets\?/,
  )
  const unheard = await tryOut('unheard')
  assert.equal(unheard.code, 1)
  assert.match(unheard.stdout, /\n404 /)
  assert.match(unheard.stderr, /^\nThe node has no such source\./)
  assert.equal(facade.messages.length, 0)
})

test('try without a file, with a wrong one or for an unknown source sends nothing', async (t) => {
  const { facade, url, tryOut } = await open(t, {})
  const without = await runHere(['try', 'github', '--url', url])
  assert.equal(without.code, 78)
  assert.match(
    without.stderr,
    /Expected `--sources` to be the file of sources that the node was started with/,
  )
  const secretless = await tryOut('form')
  assert.equal(secretless.code, 78)
  assert.match(secretless.stderr, /github\.secret: .*SECRET/)
  const { tryOut: tryAgain } = await open(t)
  const unknown = await tryAgain('gitub')
  assert.equal(unknown.code, 78)
  assert.match(
    unknown.stderr,
    /Expected the source to be one of github, .*, got "gitub"; did you mean `github`\?/,
  )
  assert.equal(facade.messages.length, 0)
})
