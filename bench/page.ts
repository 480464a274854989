/**
 * The dashboard. First in Chromium, with a million messages and 20,000 dead letters beside a node with a thousand and
 * twenty: from what a person does until it is shown. Then what a hundred open tabs cost single posts: without, with
 * hidden ones, with the flow, and with the log that follows, in turns. Needs Chromium in /usr/bin.
 *
 *   npm run bench -- page
 *   npm run bench -- page --only tabs                             one part: views or tabs
 *   npm run bench -- page --rounds 2 --seconds 2 100000 2000     so many messages and dead letters
 */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium, type Page } from 'playwright-core'
import { streamIn } from './lib/bulk.ts'
import { removeDirectory, startScript, temporaryDirectory } from './lib/child.ts'
import { median, percentile, shown, shownSpread, spread } from './lib/figures.ts'
import { Generator, SIZE } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { type Measured, Meter, shownMeasured } from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { middleOf } from './lib/pages.ts'
import { type Results, save } from './lib/results.ts'
import type { Tabbed, TabsQuestion } from './lib/tabs-child.ts'

const PROGRAM = '/usr/bin/chromium'
const { rounds: ROUNDS, seconds: SECONDS, positionals, only } = roundsOf({ rounds: 5, seconds: 4 })
const [MANY = 1_000_000, MANY_DEAD = 20_000] = positionals.map(Number)
const [FEW, FEW_DEAD] = [1000, 20]
const VIEW_ROUNDS = 15
const TABS = 100
const CONNECTIONS = 64
const HANDLER = new URL('./lib/crowd-handler.js', import.meta.url).pathname
const NEEDLE = 'a needle in the middle of the log'

/** What a person does, and what is shown then. */
interface Step {
  name: string
  /** The address that leads there. */
  hash: (of: Filled) => string
  /** Found once it is shown. */
  shows: string
  /** This text is in it by then. */
  text?: (of: Filled) => string
}

/** A node that holds so many messages. */
interface Filled {
  mailroom: Mailroom
  page: Page
  dead: number
  /** Of the message half way. */
  needleId: string
  /** As the field of the log takes it. */
  middle: string
}

const STEPS: readonly Step[] = [
  { name: 'the flow', hash: () => '#/', shows: '.flow strong', text: () => 'B' },
  { name: 'the newest of the log', hash: () => '#/log', shows: 'td.id' },
  {
    name: 'the log, jump to a time',
    hash: ({ middle }) => `#/log?${new URLSearchParams({ until: middle })}`,
    shows: 'td.id',
  },
  {
    name: 'the log, a text that many have',
    hash: () => '#/log?contains=xxxx',
    shows: 'tr:nth-child(50) td.id',
  },
  {
    name: 'the log, a text that one has, half way',
    hash: () => `#/log?${new URLSearchParams({ contains: NEEDLE })}`,
    shows: 'td.id',
  },
  {
    name: 'a message by its id',
    hash: ({ needleId }) => `#/messages/${needleId}`,
    shows: '.life li:nth-child(2)',
  },
  { name: 'the oldest dead letters', hash: () => '#/dead', shows: 'td.id' },
  {
    name: 'the groups of dead letters, counted to the end',
    hash: () => '#/dead',
    shows: 'p.note',
    text: ({ dead }) => `${dead.toLocaleString('en')} dead letters in 1 group`,
  },
]

if (!existsSync(PROGRAM)) throw new Error(`The bench needs ${PROGRAM}`)
const PARTS: Record<string, () => Promise<Results['tables'][number]>> = { views, tabs }
const tables: Results['tables'] = []
for (const [part, measure] of Object.entries(PARTS)) {
  if (only === undefined || only === part) tables.push(await measure())
}
save('page', {
  tables,
  ...{ rounds: ROUNDS, seconds: SECONDS, messages: MANY, deadLetters: MANY_DEAD },
})

async function views() {
  const browser = await chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox'] })
  const directories = [temporaryDirectory(), temporaryDirectory()]
  const small = await filled(browser, directories[0]!, FEW, FEW_DEAD)
  const large = await filled(browser, directories[1]!, MANY, MANY_DEAD)
  const times = new Map(STEPS.map((step) => [step, [[], []] as [number[], number[]]]))
  for (let round = 0; round < VIEW_ROUNDS; round++) {
    for (const step of STEPS) {
      for (const [index, of] of [small, large].entries()) {
        times.get(step)![index]!.push(await timed(of, step))
      }
    }
  }
  await browser.close()
  await Promise.all([small.mailroom.end(), large.mailroom.end()])
  for (const directory of directories) removeDirectory(directory)
  const cell = (values: number[]) => {
    const sorted = values.toSorted((a, b) => a - b)
    return `${shown(percentile(sorted, 0.5))} / ${shown(percentile(sorted, 1))}`
  }
  return {
    caption: `From the address until it is shown, in Chromium, median / most of ${VIEW_ROUNDS}, in ms`,
    rows: [
      [
        '',
        `${shown(FEW)} messages, ${shown(FEW_DEAD)} dead`,
        `${shown(MANY)} messages, ${shown(MANY_DEAD)} dead`,
      ],
      ...[...times].map(([{ name }, [few, many]]) => [name, cell(few), cell(many)]),
    ],
  }
}

/** Fills a node: first without a handler, which is faster, then with one that makes dead letters. */
async function filled(browser: Browser, data: string, count: number, dead: number): Promise<Filled> {
  const plain = await Mailroom.start([], data)
  await streamIn(plain.url, count / 2, SIZE)
  await streamIn(plain.url, 1, NEEDLE.length, NEEDLE)
  await sleep(1000) // The other half is of other seconds.
  await streamIn(plain.url, count / 2, SIZE)
  await plain.untilConsumed(count + 1)
  await plain.end()
  const mailroom = await Mailroom.start(['--handler', HANDLER], data)
  await streamIn(mailroom.url, dead, SIZE, 'dead '.padEnd(SIZE, 'x'))
  const deadCount = async () =>
    (await mailroom.get<{ dead?: number }[]>('/actors')).reduce((sum, actor) => sum + (actor.dead ?? 0), 0)
  while ((await deadCount()) < dead) await sleep(200)
  const [first] = (
    await mailroom.get<{ items: { id: string }[] }>('/log?limit=1&after=00000000000000000000000000')
  ).items
  const [last] = (await mailroom.get<{ items: { id: string }[] }>('/log?limit=1')).items
  const [middle] = (
    await mailroom.get<{ items: { at: string }[] }>(`/log?limit=1&before=${middleOf(first!.id, last!.id)}`)
  ).items
  const found = `/log?limit=1&contains=${encodeURIComponent(NEEDLE)}`
  let needleId: string | undefined
  for (let path = found; needleId === undefined; ) {
    const answer = await mailroom.get<{ items: { id: string }[]; next: string }>(path)
    needleId = answer.items[0]?.id
    path = answer.next
  }
  const page = await browser.newPage({ timezoneId: 'UTC' })
  await page.goto(`${mailroom.url}/#/actions`)
  await page.locator('.actions').waitFor()
  return { mailroom, page, dead, needleId, middle: middle!.at.slice(0, 19) }
}

/** Goes there from a view that has none of it. @returns Milliseconds. */
async function timed(of: Filled, { hash, shows, text }: Step): Promise<number> {
  const { page } = of
  await page.evaluate(() => {
    location.hash = '#/actions'
  })
  await page.locator('.actions').waitFor()
  return page.evaluate(
    async ([to, selector, expected]) => {
      const began = performance.now()
      location.hash = to
      const isShown = () =>
        [...document.querySelectorAll(`main ${selector}`)].some(({ textContent }) =>
          textContent.includes(expected),
        )
      while (!isShown()) {
        if (performance.now() - began > 120_000) throw new Error(`${to} did not show ${selector}`)
        await new Promise(requestAnimationFrame)
      }
      return performance.now() - began
    },
    [hash(of), shows, text?.(of) ?? ''] as const,
  )
}

async function tabs() {
  const WAYS = {
    'no tab': undefined,
    [`${TABS} tabs, hidden`]: { count: 0, isLog: false },
    [`${TABS} tabs that show the flow`]: { count: TABS, isLog: false },
    [`${TABS} tabs that show the log`]: { count: TABS, isLog: true },
  }
  const generator = await Generator.start()
  const mailroom = await Mailroom.start()
  const meter = new Meter(mailroom, generator)
  await meter.measure({ connections: CONNECTIONS, seconds: 2 }) // Warms up.
  const measured = new Map(Object.keys(WAYS).map((way) => [way, [] as Measured[]]))
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [way, open] of Object.entries(WAYS)) {
      const { child } = await startScript(new URL('./lib/tabs-child.ts', import.meta.url))
      const question: TabsQuestion = { kind: 'open', port: mailroom.port, count: 0, isLog: false, ...open }
      await child.ask(question)
      const one = await meter.measure({ connections: CONNECTIONS, seconds: SECONDS })
      const tabbed = await child.ask<Tabbed>({ kind: 'close' } satisfies TabsQuestion)
      await child.end()
      measured.get(way)!.push(one)
      console.log(
        `round ${round}  ${way.padEnd(28)}  ${shownMeasured(one)}  ${shown(tabbed.frameCount)} frames`,
      )
    }
  }
  await mailroom.end()
  await generator.end()
  const [alone = []] = measured.values()
  return {
    caption: `Single posts at ${CONNECTIONS} connections, as fast as they are taken, ${ROUNDS} rounds in turns. Tabs share the machine; their own CPU is not in the figures.`,
    rows: [
      ['', '201 a second', 'CPU us a message', 'CPU / no tab', 'more CPU, % of a core'],
      ...[...measured].map(([way, rounds]) => [
        way,
        shown(median(rounds.map(({ perSecond }) => perSecond))),
        shownSpread(spread(rounds.map(({ cpuUs }) => cpuUs))),
        shown(median(rounds.map(({ cpuUs }, index) => cpuUs / alone[index]!.cpuUs)), 3),
        shown(
          median(
            rounds.map(({ cpuUs, perSecond }, index) => ((cpuUs - alone[index]!.cpuUs) * perSecond) / 1e4),
          ),
          1,
        ),
      ]),
    ],
  }
}
