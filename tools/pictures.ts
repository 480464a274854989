/**
 * Makes the pictures of the README, in docs/pictures/: the dashboard in front of a node that works, that has dead letters,
 * and whose receiver is away, light and dark. Needs Chromium. `npm run pictures`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium } from 'playwright-core'
import { freePort } from './free-port.ts'

const ROOT = new URL('../', import.meta.url).pathname
/** Where the pictures go; another folder may be given. */
const TO = process.argv[2] ?? join(ROOT, 'docs/pictures')
/** So long the node works before its picture is taken: its charts need something to show. */
const WORK_MS = 100_000

const directory = mkdtempSync(join(tmpdir(), 'mailroom-pictures-'))
const sources = join(directory, 'sources.json')
writeFileSync(sources, JSON.stringify({ shop: { verify: 'none', types: ['application/json'] } }))
const [port, target] = [await freePort(), await freePort()]
const url = `http://127.0.0.1:${port}`

/** It takes a moment, and refuses some for good. */
const receiver = createServer(async (request, response) => {
  const text = Buffer.concat(await request.toArray()).toString()
  await sleep(5 + Math.random() * 30)
  response.writeHead(text.includes('"total":"') ? 410 : 200).end()
})
receiver.listen(target, '127.0.0.1')
await once(receiver, 'listening')

const flags = ['--port', String(port), '--data', join(directory, 'data'), '--sources', sources]
const node = spawn(
  process.execPath,
  ['src/cli.ts', 'start', ...flags, '--forward', `http://127.0.0.1:${target}/orders`],
  {
    cwd: ROOT,
    stdio: 'ignore',
  },
)
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
try {
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) await sleep(200)
  mkdirSync(TO, { recursive: true })
  const ids = await work(WORK_MS)
  await picture(browser, 'flow', '#/', { height: 848, isWorking: true })
  await picture(browser, 'message', `#/messages/${ids.at(-1)}`, { height: 760 })
  await picture(browser, 'dead', '#/dead', { height: 600 })
  receiver.close()
  receiver.closeAllConnections()
  await work(6000)
  await picture(browser, 'outage', '#/', { height: 360 })
} finally {
  await browser.close()
  node.kill()
  await once(node, 'exit')
  receiver.close()
  rmSync(directory, { recursive: true, force: true })
}

/** Posts orders, in waves, for so long. @returns Their ids. */
async function work(ms: number): Promise<string[]> {
  const ids: string[] = []
  const endAt = Date.now() + ms
  for (let at = 0; Date.now() < endAt; at++) {
    const isWrong = at % 41 === 0
    const many = Math.round(3 + 2 * Math.sin(at / 25) + Math.random() * 2)
    const posts = Array.from({ length: many }, async (_, one) => {
      const total = isWrong && one === 0 ? '"n/a"' : (Math.random() * 200).toFixed(2)
      const body = `{"order":${9007199254740993n + BigInt(at * 10 + one)},"customer":"c-${at % 97}","total":${total},"lines":[{"sku":"A-${one}","count":${1 + one}}],"note":"leave at the door"}`
      const response = await fetch(`${url}/in/shop`, {
        ...{ method: 'POST', body },
        headers: {
          'content-type': 'application/json',
          'x-shop-event': 'order.created',
          'user-agent': 'shop/4.2',
        },
      })
      if (response.ok) {
        const { id } = (await response.json().catch(() => ({}))) as { id?: string }
        if (id !== undefined) ids.push(id)
      }
    })
    await Promise.all(posts)
    await sleep(60)
  }
  return ids
}

async function picture(
  from: Browser,
  name: string,
  hash: string,
  { height, isWorking = false }: { height: number; isWorking?: boolean },
): Promise<void> {
  for (const scheme of ['light', 'dark'] as const) {
    const page = await from.newPage({
      viewport: { width: 1280, height },
      colorScheme: scheme,
      reducedMotion: 'reduce',
    })
    await page.goto(`${url}/${hash}`)
    await (isWorking ? work(7000) : sleep(3500))
    await page.screenshot({ path: join(TO, `${name}-${scheme}.png`) })
    await page.close()
  }
}
