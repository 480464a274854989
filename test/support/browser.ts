/** Headless Chromium, Debian's, for tests of the dashboard: left out, in one line, where it is missing; required when CI=true. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, chromium, type Page } from 'playwright-core'

const PROGRAM = '/usr/bin/chromium'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Why tests in a browser are left out; false: they run. */
export const skip = !existsSync(PROGRAM) && process.env['CI'] !== 'true' && `needs ${PROGRAM}`

/** What a page did that it must not. */
const faults = new WeakMap<Page, string[]>()

/** Starts a browser. */
export function startBrowser(): Promise<Browser> {
  // Root may not use Chromium's sandbox.
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

/** How a tab is opened. */
export interface TabOptions {
  width?: number
  height?: number
  dark?: boolean
  cookie?: string
}

/** Opens a tab in a profile of its own, and notes violations of the policy, errors and dialogs. */
export async function openTab(
  browser: Browser,
  url: string,
  { width = 1280, height = 900, dark = false }: TabOptions = {},
): Promise<Page> {
  const page = await browser.newPage({
    ...{ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' },
  })
  const noted: string[] = []
  faults.set(page, noted)
  page.setDefaultTimeout(20_000)
  page.on('pageerror', (error) => noted.push(`error: ${error.message}`))
  page.on('dialog', (dialog) => {
    noted.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', (message) => {
    // Chromium tells of each violation here, also of those before a listener could hear of it.
    if (/Content Security Policy|TrustedHTML/i.test(message.text())) noted.push(message.text())
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(new URL(url).origin)) noted.push(`asked ${request.url()}`)
  })
  await page.goto(url)
  return page
}

/** Fails when the tab did what it must not. */
export function assertClean(page: Page): void {
  assert.deepEqual(faults.get(page), [])
}

/** Fails when axe finds a fault of access in what the tab shows, or it is wider than its window. */
export async function assertAccessible(page: Page, what: string): Promise<void> {
  await page.evaluate(AXE)
  const found = await page.evaluate(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: axe is there only in the page
    const { violations } = await (globalThis as any).axe.run(document, { resultTypes: ['violations'] })
    // biome-ignore lint/suspicious/noExplicitAny: as axe says it
    return violations.flatMap(({ id, nodes }: any) =>
      // biome-ignore lint/suspicious/noExplicitAny: as axe says it
      nodes.map((node: any) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`),
    )
  })
  assert.deepEqual(found, [], what)
  const [width, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth] as const)
  assert.ok(width <= room, `${what}: ${width} px in ${room}`)
}
