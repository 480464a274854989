/** The dashboard's files: what a browser may do with them, how large they are, and where they are found. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { type Api, startApi } from '../../support/public-api.ts'

/** What a first visit may take over the wire. */
const WHOLE_MAX_BYTES = { br: 45_000, gzip: 48_500 }

async function bytesOf(api: Api, path: string, encoding: string) {
  const { statusCode, headers, body } = await api.client.request({
    ...{ method: 'GET', path, headers: { 'accept-encoding': encoding } },
  })
  return { status: statusCode, headers, bytes: Buffer.from(await body.arrayBuffer()) }
}

/** The files that a text names. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/["'](?:assets|\.)\/([\w.-]+\.(?:js|css|svg))["']/g)].map(([, name]) => name!)
}

/** The page and all it loads: name -> text and size. */
async function loaded(
  api: Api,
  encoding: 'br' | 'gzip',
): Promise<Map<string, { text: string; size: number }>> {
  const unpack = { br: brotliDecompressSync, gzip: gunzipSync }[encoding]
  const files = new Map<string, { text: string; size: number }>()
  const load = async (name: string, path: string) => {
    const { status, headers, bytes } = await bytesOf(api, path, encoding)
    assert.deepEqual([status, headers['content-encoding']], [200, encoding], path)
    const text = unpack(bytes).toString()
    files.set(name, { text, size: bytes.length })
    for (const next of namesIn(text)) if (!files.has(next)) await load(next, `/assets/${next}`)
  }
  await load('', '/')
  return files
}

test('the page and all its files are small, compressed, and load nothing of others', async (context) => {
  const api = await startApi(context)
  for (const encoding of ['br', 'gzip'] as const) {
    const files = await loaded(api, encoding)
    assert.deepEqual(
      [...files.keys()].map((name) => name.replace(/\.[\w-]{8}(?=\.\w+$)/, '')),
      ['', 'icon.svg', 'style.css', 'uPlot.iife.min.js', 'main.js'],
    )
    const whole = [...files.values()].reduce((sum, { size }) => sum + size, 0)
    assert.ok(whole < WHOLE_MAX_BYTES[encoding], `${encoding}: ${whole} bytes`)
    for (const [name, { text }] of files) {
      if (name.startsWith('uPlot')) continue
      assert.doesNotMatch(text, /^(?:import|export)\b/m, 'all modules are in one file')
      assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/, name)
      assert.doesNotMatch(text.replaceAll('http://www.w3.org/2000/svg', ''), /https?:\/\/|\burl\(/, name)
    }
  }
})

test('the page may run its own files only, and is not kept; files are kept for ever', async (context) => {
  const api = await startApi(context, { token: 'a-token-of-32-characters-at-least' })
  const page = await api.ask('GET', '/')
  assert.equal(page.status, 200)
  const policy = String(page.headers['content-security-policy'])
  for (const rule of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"])
    assert.ok(policy.includes(rule), policy)
  assert.doesNotMatch(policy, /unsafe|\*|http/)
  assert.doesNotMatch(page.text, / style=|<style| on\w+=|<script>/)
  assert.equal(page.headers['cache-control'], 'no-cache')
  const again = await api.ask('GET', '/', { headers: { 'if-none-match': String(page.headers['etag']) } })
  assert.deepEqual([again.status, again.text], [304, ''])
  for (const name of namesIn(page.text)) {
    const file = await api.ask('GET', `/assets/${name}`)
    assert.match(String(file.headers['cache-control']), /immutable/)
    const known = { 'if-none-match': `W/${file.headers['etag']}` }
    assert.equal((await api.ask('GET', `/assets/${name}`, { headers: known })).status, 304)
  }
  assert.equal((await api.ask('GET', '/assets/main.js')).status, 404)
  assert.equal((await api.ask('GET', '/history')).status, 401)
})

test('without compression a file comes as it is', async (context) => {
  const api = await startApi(context)
  const { headers, bytes } = await bytesOf(api, '/', 'identity')
  assert.equal(headers['content-encoding'], undefined)
  assert.match(bytes.toString(), /^<!doctype html>/)
})

test('with a base path every call is answered with it and without it', async (context) => {
  const api = await startApi(context, { basePath: '/tools/mailroom' })
  for (const path of ['/tools/mailroom/livez', '/livez', '/tools/mailroom/', '/']) {
    assert.equal((await api.ask('GET', path)).status, 200, path)
  }
  const bare = await api.ask('GET', '/tools/mailroom')
  assert.deepEqual([bare.status, bare.headers['location']], [308, 'mailroom/'])
  const posted = await api.ask('POST', '/tools/mailroom/messages', {
    ...{ headers: { 'content-type': 'text/plain' }, body: 'below a path' },
  })
  assert.equal(posted.status, 201)
  for (const path of ['/tools/mailroomlivez', '/tools/livez', '/tools/mailroom//livez']) {
    assert.equal((await api.ask('GET', path)).status, 404, path)
  }
})
