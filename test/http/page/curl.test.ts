/** The curl lines of the dashboard, in real shells: what arrives is the body, whatever it is made of. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

const NAUGHTY = (createRequire(import.meta.url)('big-list-of-naughty-strings') as string[]).filter(
  (text) => text !== '' && text.isWellFormed(),
)
const HOSTILE = [
  '@/etc/passwd',
  '@-',
  "'; echo stolen; '",
  '$(echo stolen) `echo stolen` $HOME !! \\n \\0101 %s %d \\c',
  'a\u{0}b\u{1b}[31m\r\n\u{202e}gnp.exe\u{85}\u{2028}',
  '\\\u{0}\\\\',
  '\n\nlines\n',
  '-K/etc/passwd',
]
const run = promisify(execFile)

interface Arrived {
  url: string
  type: string | undefined
  body: Buffer
}

/** The page's module, with a server in place of Mailroom. */
async function bench(context: TestContext) {
  const arrived: Arrived[] = []
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray())
    arrived.push({ url: request.url!, type: request.headers['content-type'], body })
    response.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  Object.assign(globalThis, { document: { baseURI: `${url}/base/#/log` } })
  const { curlOf } = await import('../../../src/http/page/api.js')
  /** Runs these lines one after another, as somebody does who pastes them. */
  const through = async (shell: string, lines: readonly string[]) => {
    const running = run(shell, ['-s'])
    running.child.stdin!.end(
      `${lines.map((line) => line.replace('curl ', 'curl -sS -H "Expect:" ')).join('\n')}\n`,
    )
    assert.deepEqual(await running, { stdout: '', stderr: '' })
    return arrived.splice(0)
  }
  return { curlOf, through }
}

test('a body arrives as it is, and no shell runs a part of it', async (context) => {
  const { curlOf, through } = await bench(context)
  const texts = [...HOSTILE, ...NAUGHTY.slice(0, 92), `${'x'.repeat(200_000)}\u{0}`, 'x'.repeat(200_000)]
  const lineOf = (text: string) => curlOf({ method: 'POST', path: 'messages', text })
  for (const text of texts) {
    assert.doesNotMatch(lineOf(text), /(?![\n\t])[\p{Cc}\p{Cf}]/u, 'a terminal shows what it is')
  }
  for (const [shell, those] of [
    ['sh', texts],
    ['bash', HOSTILE],
  ] as const) {
    const all = await through(shell, those.map(lineOf))
    for (const [at, text] of those.entries()) {
      const { url, type, body } = all[at]!
      assert.deepEqual([url, type, body.toString()], ['/base/messages', 'text/plain', text], shell)
    }
  }
})

test('a body that is no text arrives byte for byte, with its type, at its source', async (context) => {
  const { curlOf, through } = await bench(context)
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const base64 = bytes.toString('base64')
  const line = curlOf({ method: 'POST', path: 'in/shop', base64, type: "image/x'; echo stolen" })
  const { url, type, body } = (await through('sh', [line]))[0]!
  assert.deepEqual([url, type], ['/base/in/shop', "image/x'; echo stolen"])
  assert.deepEqual(body, bytes)
})

test('the token is named, never shown', async (context) => {
  const { curlOf } = await bench(context)
  const { session } = await import('../../../src/http/page/api.js')
  session.isSignedIn = true
  context.after(() => {
    session.isSignedIn = false
  })
  const line = curlOf({ method: 'PUT', path: 'delivery', body: { paused: true } })
  assert.match(line, /^curl -X PUT 'http:.*\/base\/delivery' -H "Authorization: Bearer \$MAILROOM_TOKEN" /)
})
