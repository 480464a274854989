/** `/docs` and the files it loads. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { openapiOf } from '../../../src/http/openapi/document.ts'
import { html, inline } from '../../../src/http/openapi/html.ts'
import { pageOf } from '../../../src/http/openapi/page.ts'
import { ROUTES, type Route } from '../../../src/http/routes/table.ts'
import { ERRORS } from '../../../src/runtime/errors.ts'
import { startApi } from '../../support/public-api.ts'

const TOKEN = 'the-right-token-of-32-characters'
const document = openapiOf({ maxMessageBytes: 65_536, lanes: 16 })
const page = pageOf(document, { url: 'http://127.0.0.1:8080', stylesheet: 'assets/docs.css' })
const idsIn = (text: string) => [...text.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!)

test('text in a template is text, in quotes too; only HTML that was made so is HTML', () => {
  const evil = `<script>alert("'&'")</script>`
  const escaped = '&#60;script&#62;alert(&#34;&#39;&#38;&#39;&#34;)&#60;/script&#62;'
  assert.equal(
    html`<p title="${evil}">${[evil, 1, html`<b>${evil}</b>`]}</p>`.text,
    `<p title="${escaped}">${escaped}1<b>${escaped}</b></p>`,
  )
  assert.equal(inline('a `<b>` [c](d.md)').text, 'a <code>&#60;b&#62;</code> c')
})

test('the page has a heading and a curl line for each route, each error at its code, and each link leads somewhere', () => {
  const ids = idsIn(page)
  assert.equal(new Set(ids).size, ids.length, 'no id twice')
  for (const name of Object.keys(ROUTES)) assert.ok(ids.includes(name), name)
  for (const code of Object.keys(ERRORS)) assert.ok(ids.includes(code), code)
  const lines = [...page.matchAll(/<pre><code>(curl [^<]*)<\/code><\/pre>/g)].map(([, line]) => line!)
  assert.equal(lines.length, Object.keys(ROUTES).length)
  for (const { role } of Object.values<Route>(ROUTES))
    assert.ok(['open', 'source', 'read', 'post', 'all'].includes(role))
  const open = Object.values<Route>(ROUTES).filter(({ role }) => role === 'open' || role === 'source')
  assert.equal(lines.filter((line) => line.includes('$MAILROOM_TOKEN')).length, lines.length - open.length)
  const targets = [...page.matchAll(/ href="#([^"]*)"/g)].map(([, target]) => target!)
  assert.ok(targets.length > 100)
  assert.deepEqual(
    targets.filter((target) => !ids.includes(target)),
    [],
  )
})

test('the page can be read without seeing it: one h1, no level left out, captions, heads of columns and rows', () => {
  const levels = [...page.matchAll(/<h(\d)/g)].map(([, level]) => Number(level))
  assert.equal(levels.filter((level) => level === 1).length, 1)
  levels.reduce((before, level) => {
    assert.ok(level <= before + 1)
    return level
  }, 0)
  const tables = page.split('<table>').slice(1)
  assert.ok(tables.length > 30)
  for (const table of tables) {
    assert.match(table, /^\n<caption>\w+<\/caption>\n<thead><tr>(<th scope="col">\w+<\/th>)+<\/tr><\/thead>/)
    assert.ok(table.includes('<th scope="row">'))
  }
  for (const tag of ['<main', '<nav aria-label', '<header', '<html lang="en"'])
    assert.equal(page.split(tag).length, 2, tag)
  for (const [, label] of page.matchAll(/ aria-labelledby="([^"]*)"/g))
    assert.ok(idsIn(page).includes(label!), label)
})

test('the page is answered with a policy under which it loads its own style and nothing else', async (t) => {
  const { ask } = await startApi(t, { token: TOKEN })
  const { status, headers, text } = await ask('GET', '/docs')
  assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8'])
  assert.match(String(headers['content-security-policy']), /^default-src 'none'; style-src 'self';/)
  assert.doesNotMatch(text, /<script|<style| style=| on\w+=|https?:\/\/(?!127\.0\.0\.1)/)
  const address = /<link rel="stylesheet" href="([^"]*)">/.exec(text)![1]!
  const file = await ask('GET', `/${address}`)
  assert.deepEqual([file.status, file.headers['content-type']], [200, 'text/css; charset=utf-8'])
  assert.equal(file.headers['cache-control'], 'public, max-age=31536000, immutable')
  const etag = String(file.headers['etag'])
  const same = await ask('GET', `/${address}`, { headers: { 'if-none-match': `"x", W/${etag}` } })
  assert.deepEqual([same.status, same.text, same.headers['etag']], [304, '', etag])
  assert.equal((await ask('GET', `/${address}`, { headers: { 'if-none-match': '"x"' } })).status, 200)
  for (const name of ['docs.css', '..%2Fassets%2Fdocs.css', 'docs.000000000000.css']) {
    assert.equal((await ask('GET', `/assets/${name}`)).status, 404, name)
  }
})

test('the lines for a shell call the host that the page was asked of, and never have the token', async (t) => {
  const { ask } = await startApi(t, { token: TOKEN })
  const authorization = `Bearer ${TOKEN}`
  const { text } = await ask('GET', '/docs', {
    headers: { host: 'mail.example:81', authorization, 'x-forwarded-proto': 'https' },
  })
  assert.ok(
    text.includes(
      'curl &#39;https://mail.example:81/log&#39; -H &#34;Authorization: Bearer $MAILROOM_TOKEN&#34;',
    ),
  )
  assert.ok(!text.includes(TOKEN))
})
