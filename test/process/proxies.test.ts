/** The files of docs/proxies.md in real proxies, in front of the real program. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { fencesOf, pageOf } from '../support/markdown.ts'
import { System } from '../support/system.ts'

const PAGE = pageOf('docs/proxies.md')
const NAME = 'mail.example'

type Kind = 'nginx' | 'haproxy' | 'caddy'

/** The file of the page, for this proxy on a port, in front of a node. */
function fileOf(kind: Kind, port: number, system: System): string {
  const fence = fencesOf(PAGE).find(({ language }) => language === kind)
  return fence!.text.replaceAll('127.0.0.1:8080', `127.0.0.1:${system.port}`).replace(
    {
      nginx: 'listen 80;',
      haproxy: 'bind :80',
      caddy: `${NAME} {`,
    }[kind],
    {
      nginx: `listen 127.0.0.1:${port};`,
      haproxy: `bind 127.0.0.1:${port}`,
      caddy: `http://${NAME}:${port} {`,
    }[kind],
  )
}

/** Around the file of the page: nothing of the machine's own is used, and no log is written. */
const WHOLE: Record<Kind, (file: string, directory: string) => string> = {
  nginx: (file, directory) => `
    daemon off; worker_processes 1; pid ${directory}/pid; error_log stderr crit;
    events {}
    http {
      access_log off;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${directory}/${what};`).join(' ')}
      ${file}
    }`,
  haproxy: (file, directory) => `global\n    stats socket ${directory}/stats\n${file}`,
  caddy: (file) => `{\n\tadmin off\n\tauto_https off\n}\n${file}`,
}

const COMMAND: Record<Kind, (path: string) => string[]> = {
  nginx: (path) => ['/usr/sbin/nginx', '-c', path, '-e', 'stderr'],
  haproxy: (path) => ['/usr/sbin/haproxy', '-db', '-q', '-f', path],
  caddy: (path) => ['/usr/bin/caddy', 'run', '--adapter', 'caddyfile', '--config', path],
}

/** Runs a proxy until the test is over. */
async function begin(
  t: Pick<TestContext, 'after'>,
  kind: Kind,
  system: System,
  change = (file: string) => file,
): Promise<{ port: number; directory: string }> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), `${kind}-`))
  const path = join(directory, 'config')
  writeFileSync(path, WHOLE[kind](change(fileOf(kind, port, system)), directory))
  const [command, ...args] = COMMAND[kind](path)
  const env = { ...process.env, HOME: directory }
  const proxy = spawn(command!, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  const exited = once(proxy, 'exit')
  let said = ''
  proxy.stderr.setEncoding('utf8').on('data', (chunk) => {
    said = (said + chunk).slice(-5000)
  })
  t.after(async () => {
    proxy.kill('SIGTERM')
    const timer = setTimeout(() => proxy.kill('SIGKILL'), 3000)
    await exited
    clearTimeout(timer)
    rmSync(directory, { recursive: true, force: true })
  })
  await system.until(`${kind} answers: ${said}`, async () => {
    assert.equal(proxy.exitCode, null, said)
    return (await ask(port, 'GET', '/readyz')).status === 200
  })
  return { port, directory }
}

/** One request to a proxy, with the name as Host. */
async function ask(
  port: number,
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: string } = {},
) {
  const asked = request({
    // A proxy that has passed on an early refusal closes the connection: a request on it would be lost.
    agent: false,
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: { host: `${NAME}:${port}`, ...headers },
  })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const answer = await text(response)
  return { status: response.statusCode, type: response.headers['content-type'], text: answer }
}

const TEXT = { 'content-type': 'text/plain' }
const JSON_TYPE = { 'content-type': 'application/json' }
const NDJSON = { 'content-type': 'application/x-ndjson' }

/** Where a proxy is not installed, its tests are left out in one line; CI requires them. */
function missing(kind: Kind): string | false {
  const [command] = COMMAND[kind]('')
  const isThere = spawnSync(command!, ['-v'], { stdio: 'ignore' }).error === undefined
  return isThere || process.env['CI'] === 'true' ? false : `${kind} is not installed`
}

test('the files of docs/proxies.md work', async (t) => {
  const system = await System.start(t, ['--allowed-hosts', `${NAME},mailroom`])

  for (const kind of ['nginx', 'haproxy', 'caddy'] as const) {
    await t.test(kind, { skip: missing(kind) }, async (t) => {
      const { port } = await begin(t, kind, system)
      const posted = await ask(port, 'POST', '/messages', { headers: TEXT, body: kind })
      assert.equal(posted.status, 201, posted.text)
      const { id } = JSON.parse(posted.text)
      const found = await ask(port, 'GET', `/messages/${id}?wait=5`)
      assert.equal(JSON.parse(found.text).state, 'delivered')
      const unknown = await ask(port, 'GET', '/nothing')
      assert.deepEqual([unknown.status, unknown.type], [404, 'application/problem+json'])

      const origin = `http://${NAME}:${port}`
      const own = await ask(port, 'POST', '/messages', { headers: { ...TEXT, origin }, body: 'a' })
      assert.equal(own.status, 201, own.text)
      const other = await ask(port, 'POST', '/messages', {
        headers: { ...TEXT, origin: 'http://a' },
        body: 'a',
      })
      assert.equal(JSON.parse(other.text).code, 'MR_FORBIDDEN')

      const large = JSON.stringify(Array.from({ length: 17 }, () => ({ text: 'x'.repeat(61_600) })))
      assert.ok(large.length > 1_000_000 && large.length < 1024 * 1024)
      assert.equal((await ask(port, 'POST', '/messages', { headers: JSON_TYPE, body: large })).status, 201)
      const tooLarge = await ask(port, 'POST', '/messages', { headers: JSON_TYPE, body: large.repeat(3) })
      assert.equal(JSON.parse(tooLarge.text).code, 'MR_TOO_LARGE')
      const lines = `${JSON.stringify({ text: 'x'.repeat(60_000) })}\n`.repeat(50)
      const counted = await ask(port, 'POST', '/messages?acks=errors', { headers: NDJSON, body: lines })
      assert.deepEqual(JSON.parse(counted.text), { lines: 50, accepted: 50, refused: 0 })

      // Over HTTP/1.1 Debian's Caddy reads a request whole before it answers, as the page says.
      if (kind !== 'caddy') await answersLineByLine(port)
    })
  }

  await t.test('nginx with its default Host', { skip: missing('nginx') }, async (t) => {
    const withoutHost = (file: string) => file.replace('proxy_set_header Host $http_host;', '')
    const known = await begin(t, 'nginx', system, withoutHost)
    assert.equal((await ask(known.port, 'POST', '/messages', { headers: TEXT, body: 'a' })).status, 201)
    const unknown = await begin(t, 'nginx', system, (file) =>
      withoutHost(file).replaceAll('mailroom', 'backend'),
    )
    const refused = await ask(unknown.port, 'POST', '/messages', { headers: TEXT, body: 'a' })
    assert.deepEqual([refused.status, JSON.parse(refused.text).code], [403, 'MR_HOST_FORBIDDEN'])
    assert.match(JSON.parse(refused.text).detail, /--allowed-hosts, got "backend"$/)
  })

  await t.test(
    'the check of haproxy, which sends no Host, finds the node up',
    { skip: missing('haproxy') },
    async (t) => {
      for (const check of ['GET /readyz HTTP/1.1', 'GET /readyz', 'HEAD /livez HTTP/1.1']) {
        const { directory } = await begin(t, 'haproxy', system, (file) =>
          file.replace('GET /readyz HTTP/1.1', check),
        )
        await system.until(`${check} was answered`, async () => {
          const socket = connect(join(directory, 'stats'))
          socket.write('show stat\n')
          const row = (await text(socket)).split('\n').find((line) => line.startsWith('mailroom,node-1,'))
          assert.doesNotMatch(row!, /,L7STS,|,L7RSP,/)
          return row!.includes(',L7OK,200,')
        })
      }
    },
  )
})

/** Sends a line only when the one before it has been answered. */
async function answersLineByLine(port: number): Promise<void> {
  const headers = { ...NDJSON, host: `${NAME}:${port}`, 'transfer-encoding': 'chunked' }
  const asked = request({ host: '127.0.0.1', port, method: 'POST', path: '/messages', headers })
  const signal = AbortSignal.timeout(5000)
  asked.write('{"text":"1"}\n')
  const [response] = (await once(asked, 'response', { signal })) as [IncomingMessage]
  response.setEncoding('utf8')
  for (let line = 1; line <= 3; line++) {
    const [answer] = await once(response, 'data', { signal })
    assert.equal(JSON.parse(answer).line, line)
    asked.write(`{"text":"${line + 1}"}\n`)
  }
  asked.end()
  response.resume()
  await once(response, 'end', { signal })
}
