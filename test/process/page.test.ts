/** The dashboard in a real browser, in front of the real program: what a person sees and does. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { after, before, describe, type TestContext, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { freePort } from '../../tools/free-port.ts'
import { assertAccessible, assertClean, openTab, skip, startBrowser } from '../support/browser.ts'
import { System } from '../support/system.ts'

const NAUGHTY = (createRequire(import.meta.url)('big-list-of-naughty-strings') as string[]).filter(
  (text) => text !== '' && text.isWellFormed(),
)
const HOSTILE = [
  '<img src=x onerror=alert(1)>',
  '"><script>alert(1)</script>',
  '<svg onload=alert(1)>',
  '<a href="javascript:alert(1)">go</a>',
  '{"a":"</pre><iframe srcdoc=x>"}',
  '\u{202e}gnp.exe',
  'a\u{0}b\u{1b}[31m',
  '<style>*{display:none}</style>',
]
const TOKENS = { token: 'a-token-that-may-do-everything-12', read: 'a-token-that-may-only-read-123456' }

/** A receiver of forwards that can be away, or refuse what it gets for good. */
class Receiver {
  status = 200
  count = 0
  readonly port: number
  #server: Server | undefined

  constructor(port: number) {
    this.port = port
  }

  async start(): Promise<void> {
    this.#server = createServer(async (request, response) => {
      const text = Buffer.concat(await request.toArray()).toString()
      this.count++
      response.writeHead(text.startsWith('bad') ? this.status : 200).end()
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  stop(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }
}

const health = (page: Page) => page.locator('#health')
const told = (page: Page) => page.locator('#told')

async function go(page: Page, view: 'Flow' | 'Log' | 'Dead letters' | 'Actions'): Promise<void> {
  await page.getByRole('link', { name: view }).first().click()
  await page.getByRole('heading', { level: 1, name: view }).waitFor()
}

/** Opens an action's dialog, and does it. */
async function act(page: Page, opens: string, verb: string): Promise<void> {
  await page.getByRole('button', { name: opens }).first().click()
  await page.getByRole('dialog').getByRole('button', { name: verb, exact: true }).click()
}

async function shows(page: Page, locator: ReturnType<Page['locator']>, text: string | RegExp): Promise<void> {
  await locator.filter({ hasText: text }).first().waitFor()
  assertClean(page)
}

describe('the dashboard', { skip }, () => {
  let browser: Browser
  before(async () => {
    browser = await startBrowser()
  })
  after(() => browser.close())

  describe('in front of a node that forwards', () => {
    let system: System
    let receiver: Receiver
    let page: Page
    const endings: (() => void | Promise<void>)[] = []
    const context: Pick<TestContext, 'after'> = { after: (end) => void endings.push(end as () => void) }
    before(async () => {
      receiver = new Receiver(await freePort())
      await receiver.start()
      system = await System.start(context, ['--forward', `http://127.0.0.1:${receiver.port}/hooks`])
      page = await openTab(browser, `${system.url}/`)
    })
    after(async () => {
      for (const end of endings) await end()
      receiver.stop()
    })

    test('a message is posted and seen to arrive', async () => {
      await go(page, 'Actions')
      await page.getByRole('button', { name: 'Post a message…' }).click()
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel('Text').fill('an order of 12')
      await shows(page, dialog.locator('code'), /curl .*--data-raw 'an order of 12'/)
      await dialog.getByRole('button', { name: 'Post', exact: true }).click()
      await told(page).getByRole('link').click()
      await shows(page, page.locator('.life'), /Delivered/)
      assert.equal(await page.locator('pre').textContent(), 'an order of 12')
      assert.equal(receiver.count, 1)
      await go(page, 'Log')
      await shows(page, page.locator('tbody'), 'an order of 12')
      // The log is followed: what others post comes by itself.
      await system.send('POST', '/messages', { text: 'posted by another' })
      await shows(page, page.locator('tbody'), 'posted by another')
      await go(page, 'Flow')
      await shows(page, page.locator('.flow li').first(), /^Clients, sources2accepted/)
      await shows(
        page,
        page.locator('.flow li').last(),
        new RegExp(`URL2delivered127.0.0.1:${receiver.port}2 attempts`),
      )
      await shows(page, page.getByRole('row', { name: /^messages-/ }), /\d+/)
      assert.match(await page.title(), /^Flow · Mailroom$/)
    })

    test('an actor that is killed is seen to come back', async () => {
      await go(page, 'Flow')
      const { pid } = await system.actor('messages-1')
      const cell = (at: number) =>
        page
          .getByRole('row', { name: /^messages-1/ })
          .locator('td')
          .nth(at)
      await shows(page, cell(1), String(pid))
      const restarts = Number(await cell(2).textContent())
      process.kill(pid, 'SIGKILL')
      await shows(page, cell(2), new RegExp(`^${restarts + 1}$`))
      await shows(page, cell(0), /^ready$/)
      assert.notEqual(await cell(1).textContent(), String(pid))
    })

    test('messages are found by a pasted log line, and delivered again', async () => {
      const { id } = await system.send<{ id: string }>('POST', '/messages', {
        text: '{"n":12345678901234567890}',
      })
      await system.get(`/messages/${id}?wait=10`)
      const before = receiver.count
      await page.keyboard.press('/')
      await page.keyboard.insertText(
        `{"level":40,"actor":"messages-1","id":"${id}","msg":"an attempt failed"}`,
      )
      await page.keyboard.press('Enter')
      await shows(page, page.locator('.life'), /Delivered/)
      assert.equal(await page.locator('pre').textContent(), '{\n  "n": 12345678901234567890\n}')
      await act(page, 'Deliver again…', 'Deliver again')
      await shows(page, told(page), `${id} was delivered again.`)
      assert.equal(receiver.count, before + 1)
    })

    test('a text is found in the log; a link and the way back lead to what was shown', async () => {
      await system.send(
        'POST',
        '/messages',
        Array.from({ length: 60 }, (_, at) => ({ text: `needle ${at}` })),
      )
      await page.keyboard.press('/')
      await page.keyboard.insertText('needle')
      await page.keyboard.press('Enter')
      await shows(page, page.locator('tbody tr').first(), 'needle 59')
      assert.match(page.url(), /#\/log\?contains=needle$/)
      await page.getByRole('button', { name: 'Older' }).click()
      await shows(page, page.locator('tbody tr').first(), 'needle 9')
      await page.locator('td.id a').first().click()
      await page.locator('.life').waitFor()
      await page.goBack()
      await shows(page, page.locator('tbody tr').first(), 'needle 9')
      assert.equal(await page.getByLabel('Contains').inputValue(), 'needle')
      await page.getByRole('button', { name: 'Newer' }).click()
      await shows(page, page.locator('tbody tr').first(), 'needle 59')
    })

    test('a target that is away is named, with what to do, until it is back', async () => {
      receiver.stop()
      const texts = Array.from({ length: 20 }, (_, at) => ({ text: `waits ${at}` }))
      await system.send('POST', '/messages', texts)
      await shows(
        page,
        health(page),
        /http:\/\/127\.0\.0\.1:\d+\/hooks is away since .*Last error: .*Next probe in .*Bring it back/,
      )
      await receiver.start()
      await shows(page, health(page), 'Messages are taken and delivered.')
    })

    test('a group of dead letters is replayed, one is purged after a question', async () => {
      receiver.status = 410
      const texts = Array.from({ length: 12 }, (_, at) => ({ text: `bad ${at}` }))
      await system.send('POST', '/messages', texts)
      await system.until(
        'all are dead',
        async () => (await system.get<{ items: unknown[] }>('/dead')).items.length === 12,
      )
      await go(page, 'Dead letters')
      const groups = page.getByRole('region', { name: 'Groups of dead letters' })
      await shows(page, groups.locator('tbody tr'), /^12/)
      await page.getByLabel('Choose all that are shown').check()
      await page.getByRole('button', { name: 'Purge 12 chosen…' }).waitFor()
      await page.getByLabel('Choose all that are shown').uncheck()
      await page.getByRole('checkbox').nth(1).check()
      await page.getByRole('button', { name: 'Purge 1 chosen…' }).click()
      await shows(page, page.getByRole('dialog'), /can not be replayed/)
      await page.getByRole('button', { name: 'Cancel' }).click()
      assert.equal((await system.get<{ items: unknown[] }>('/dead')).items.length, 12)
      // What stops half way is shown as it is then: the second of two is gone already.
      await page.getByRole('checkbox').nth(2).check()
      const { items } = await system.get<{ items: { id: string }[] }>('/dead')
      await page.getByRole('button', { name: 'Purge 2 chosen…' }).click()
      await system.send('DELETE', `/dead/${items[1]!.id}`)
      await page.getByRole('dialog').getByRole('button', { name: 'Purge', exact: true }).click()
      await shows(page, page.getByRole('alert'), /There is no/)
      await shows(page, groups.locator('tbody tr'), /^10/)
      await page.getByRole('button', { name: 'Close' }).click()
      await page.getByRole('checkbox').nth(1).check()
      await act(page, 'Purge 1 chosen…', 'Purge')
      await shows(page, told(page), '1 dead letter is deleted.')
      await shows(page, groups.locator('tbody tr'), /^9/)
      receiver.status = 200
      await groups.getByRole('button', { name: 'Replay…' }).click()
      await page.getByRole('dialog').getByRole('button', { name: 'Replay', exact: true }).click()
      await shows(page, told(page), '9 dead letters are pending again.')
      await shows(page, page.locator('main'), 'There are no dead letters.')
      await system.until('all are delivered', async () => receiver.count >= 9)
    })

    test('actors are scaled, delivery is paused and resumed', async () => {
      await go(page, 'Flow')
      await page.getByRole('button', { name: 'Scale…' }).click()
      await page.getByLabel('Actors', { exact: true }).last().fill('3')
      await page.getByRole('dialog').getByRole('button', { name: 'Scale' }).click()
      await shows(page, told(page), 'Scaled messages to 3: messages-1, messages-2, messages-3.')
      await page.getByRole('row', { name: /^messages-3/ }).waitFor()
      await go(page, 'Actions')
      await act(page, 'Pause delivery…', 'Pause')
      await shows(page, health(page), 'Delivery is paused.')
      await health(page).getByRole('button', { name: 'Resume…' }).click()
      await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click()
      await shows(page, health(page), 'Messages are taken and delivered.')
    })

    test('a scaling that is refused says why', async () => {
      await go(page, 'Actions')
      await page.getByRole('button', { name: 'Scale…' }).click()
      await page.getByLabel('Actors').fill('20')
      await page.getByRole('dialog').getByRole('button', { name: 'Scale' }).click()
      await shows(page, page.getByRole('alert'), /Cannot run 20 messages actors, at most 16/)
      await page.getByRole('button', { name: /Close|Cancel/ }).click()
    })

    test('keys lead to the views and to help', async () => {
      for (const [key, title] of [
        ['l', 'Log'],
        ['d', 'Dead letters'],
        ['a', 'Actions'],
        ['f', 'Flow'],
      ] as const) {
        await page.keyboard.press('g')
        await page.keyboard.press(key)
        await page.getByRole('heading', { level: 1, name: title }).waitFor()
      }
      await page.keyboard.press('?')
      await page.getByRole('dialog', { name: 'Keys' }).waitFor()
      await page.keyboard.press('Escape')
      await page.keyboard.press('t')
      assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark')
      await page.keyboard.press('t')
    })

    test('axe finds nothing on any view, in light and dark, wide and narrow', async () => {
      const { logged } = await system.get<{ logged: { id: string }[] }>('/messages?limit=1')
      receiver.status = 410
      await system.send('POST', '/messages', { text: 'bad for axe' })
      await system.until(
        'it is dead',
        async () => (await system.get<{ items: unknown[] }>('/dead')).items.length > 0,
      )
      for (const dark of [false, true]) {
        const tab = await openTab(browser, `${system.url}/`, { dark })
        for (const [hash, ready] of [
          ['#/', '.charts canvas'],
          ['#/log', 'td.id'],
          ['#/dead', 'td.id'],
          ['#/actions', '.actions li'],
          [`#/messages/${logged[0]!.id}`, 'pre'],
        ] as const) {
          await tab.evaluate((to) => {
            location.hash = to
          }, hash)
          await tab.locator(ready).first().waitFor()
          for (const width of [1280, 320]) {
            await tab.setViewportSize({ width, height: 900 })
            await assertAccessible(tab, `${hash}, ${dark ? 'dark' : 'light'}, ${width} px`)
          }
        }
        await tab.setViewportSize({ width: 1280, height: 900 })
        await tab.keyboard.press('g')
        await tab.keyboard.press('a')
        await tab.getByRole('button', { name: 'Scale…' }).click()
        await assertAccessible(tab, 'a dialog')
        assertClean(tab)
        await tab.context().close()
      }
    })

    test('a hidden tab asks for nothing, and shows what has come since when it is seen again', async () => {
      await go(page, 'Log')
      await page.locator('td.id').first().waitFor()
      const turn = (state: string) =>
        page.evaluate((to) => {
          Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => to })
          document.dispatchEvent(new Event('visibilitychange'))
        }, state)
      await turn('hidden')
      const asked: string[] = []
      const note = (request: { url(): string }) => asked.push(request.url())
      page.on('request', note)
      await system.send('POST', '/messages', { text: 'came while nobody looked' })
      await page.waitForTimeout(2500)
      assert.deepEqual(asked, [])
      page.off('request', note)
      await turn('visible')
      await shows(page, page.locator('tbody'), 'came while nobody looked')
    })

    test('a lost connection is named, and comes back by itself', async () => {
      await go(page, 'Flow')
      system.kill()
      await shows(page, health(page), 'The connection to Mailroom is lost.')
      await system.exited
      await system.begin()
      await shows(page, health(page), 'Messages are taken and delivered.')
      await page.getByRole('row', { name: /^messages-2/ }).waitFor()
    })
  })

  test('a message that is tried again says why, first and last, and who tries it; a handler is named', async (context) => {
    const handler = handlerFile(context, "throw new Error('failed ' + attempt)")
    const system = await System.start(context, ['--handler', handler, '--retry-min', '200ms'])
    const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'an order' })
    await system.until('two have failed', async () => {
      const { attempts, lastError } = await system.get<{ attempts: number; lastError: string }>(
        `/messages/${id}`,
      )
      return attempts === 2 && lastError.endsWith('2')
    })
    const page = await openTab(browser, `${system.url}/#/messages/${id}`)
    const life = page.locator('.life')
    await shows(page, life, /attempts failed.*First error: Error: failed 1.*Last error: Error: failed \d/)
    await shows(page, life, /Next attempt .*, by messages-\d/)
    await go(page, 'Flow')
    await shows(page, page.locator('.flow li').last(), /Handler0delivered\d attempts/)
    await shows(page, page.locator('.flow li').nth(4), '1 to be retried')
    await page.context().close()
  })

  test('texts, header names and values become text, never markup', async (context) => {
    // Each text is an error, too: of a dead letter.
    const handler = handlerFile(context, 'throw Object.assign(new Error(text), { retry: false })')
    const system = await System.start(context, ['--sources', sourcesFile(context), '--handler', handler])
    const texts = [...HOSTILE, ...NAUGHTY.slice(0, 92)]
    const ids: string[] = []
    for (const text of texts) {
      const value = text.replaceAll(/[^\x21-\x7e]/g, '.')
      const response = await fetch(`${system.url}/in/any`, {
        ...{ method: 'POST', body: text },
        headers: { 'content-type': 'text/plain', 'x-hostile': value, "x-a'b`|~": value },
      })
      assert.equal(response.status, 201, await response.clone().text())
      ids.push(((await response.json()) as { id: string }).id)
    }
    const page = await openTab(browser, `${system.url}/#/log`)
    await page.locator('tbody tr').nth(40).waitFor()
    const elements = () =>
      page.evaluate(() =>
        [...new Set([...document.querySelectorAll('main *')].map(({ localName }) => localName))].sort(),
      )
    assert.deepEqual(await elements(), [
      ...['a', 'button', 'div', 'form', 'h1', 'input', 'label', 'p', 'span'],
      ...['table', 'tbody', 'td', 'th', 'thead', 'time', 'tr'],
    ])
    for (const [at, id] of ids.entries()) {
      await page.evaluate((to) => {
        location.hash = `#/messages/${to}`
      }, id)
      await page.locator('p.id', { hasText: id }).waitFor()
      await page.locator('pre').waitFor()
      const text = await page.evaluate(() => {
        for (const mark of document.querySelectorAll('pre .hidden-character'))
          mark.replaceWith(String.fromCodePoint(Number.parseInt(mark.textContent.slice(2), 16)))
        return document.querySelector('pre')!.textContent
      })
      if (!/^\s*[[{]/.test(texts[at]!)) assert.equal(text, texts[at], id)
      const kinds = await elements()
      const strange = kinds.filter((kind) =>
        /^(img|svg|script|iframe|style|object|link|b|i|video)$/.test(kind),
      )
      assert.deepEqual(strange, [], texts[at])
    }
    await shows(page, page.locator('dt'), "x-a'b`|~")
    await page.getByRole('button', { name: 'Copy as curl' }).click()
    await shows(page, told(page), 'Copied: curl line.')
    await go(page, 'Dead letters')
    await page
      .getByRole('row', { name: /onerror=alert/ })
      .first()
      .waitFor()
    await page
      .getByRole('row')
      .nth(texts.length / 2)
      .waitFor()
    assert.deepEqual(
      (await elements()).filter((kind) => !['h2', 'td', 'th'].includes(kind)),
      ['a', 'button', 'div', 'h1', 'input', 'p', 'span', 'table', 'tbody', 'thead', 'time', 'tr'],
    )
    const titles = await page.evaluate(() =>
      [...document.querySelectorAll('main [title]')].map((node) => node.getAttribute('title')!),
    )
    for (const title of titles) assert.match(title, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    assertClean(page)
    await page.context().close()
  })

  test('a read token sees everything and is offered nothing; behind a path; signed in and out', async (context) => {
    const args = ['--token', TOKENS.token, '--read-token', TOKENS.read, '--base-path', '/tools/mailroom']
    const system = await System.start(context, args)
    const url = `${system.url}/tools/mailroom`
    const posted = await fetch(`${url}/messages`, {
      ...{ method: 'POST', body: 'to be read' },
      headers: { authorization: `Bearer ${TOKENS.token}`, 'content-type': 'text/plain' },
    })
    const { id } = (await posted.json()) as { id: string }
    const page = await openTab(browser, url)
    await page.getByLabel('Token').fill('a-wrong-token-of-32-characters-..')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await shows(page, page.getByRole('alert'), 'This is none of its tokens.')
    await assertAccessible(page, 'the form to sign in')
    await page.getByLabel('Token').fill(TOKENS.read)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await shows(page, page.locator('.flow li').first(), /1accepted/)
    for (const hash of ['#/', '#/log', '#/dead', '#/actions', `#/messages/${id}`]) {
      await page.evaluate((to) => {
        location.hash = to
      }, hash)
      await page.waitForTimeout(300)
      const buttons = await page.getByRole('button').allTextContents()
      const offered = buttons.filter((name) => name.endsWith('…'))
      assert.deepEqual(offered, [], hash)
    }
    // What the page does not offer, its cookie may not do either.
    const refused = await page.evaluate(async (message) => {
      const calls: [string, string, string?][] = [
        ['POST', 'messages', '{"text":"x"}'],
        ['PUT', 'actors/messages', '{"count":3}'],
        ['POST', 'actors/messages/restart'],
        ['PUT', 'delivery', '{"paused":true}'],
        ['POST', 'dead/replay'],
        ['POST', 'dead/purge'],
        ['POST', 'log/redrive'],
        ['POST', `messages/${message}/redeliver`],
        ['POST', `dead/${message}/replay`],
        ['DELETE', `dead/${message}`],
        ['POST', 'loss/confirm', '{}'],
      ]
      return Promise.all(
        calls.map(async ([method, path, body]) => {
          const headers = { 'X-Mailroom': '1', 'Content-Type': 'application/json' }
          const response = await fetch(path, { method, headers, ...(body !== undefined && { body }) })
          return response.status
        }),
      )
    }, id)
    assert.deepEqual(refused, Array(11).fill(403))
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Token').fill(TOKENS.token)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await go(page, 'Actions')
    await page.getByRole('button', { name: 'Scale…' }).click()
    await page.getByLabel('Actors').fill('1')
    await shows(page, page.getByRole('dialog'), '-H "Authorization: Bearer $MAILROOM_TOKEN"')
    await page.getByRole('dialog').getByRole('button', { name: 'Scale' }).click()
    await shows(page, told(page), 'Scaled messages to 1: messages-1.')
    await page.context().clearCookies()
    await page.getByRole('link', { name: 'Log' }).click()
    await shows(page, page.getByRole('alert'), 'The session is over.')
    assert.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0)
    await page.context().close()
  })
})

/** A handler, called with `{ text }` and `{ attempt }`. */
function handlerFile(context: TestContext, body: string): string {
  const path = `${process.env['TMPDIR'] ?? '/tmp'}/mailroom-page-handler-${process.pid}-${body.length}.mjs`
  writeFileSync(path, `export default ({ text }, { attempt }) => { ${body} }`)
  context.after(() => rmSync(path))
  return path
}

function sourcesFile(context: TestContext): string {
  const path = `${process.env['TMPDIR'] ?? '/tmp'}/mailroom-page-sources-${process.pid}.json`
  writeFileSync(path, JSON.stringify({ any: { verify: 'none', answer: 201 } }))
  context.after(() => rmSync(path))
  return path
}
