/**
 * The mailbox of an actor: how long one message takes through it, beside a call without a mailbox. No I/O.
 *
 *   npm run bench -- mailbox
 */
import { Mailbox } from '../src/runtime/mailbox.ts'
import { shown, shownSpread, spread } from './lib/figures.ts'
import { save } from './lib/results.ts'

const ROUNDS = 5
const MESSAGES = 200_000
/** Messages under way at once: 1 waits for each, 1,000 keep the mailbox filled. */
const UNDER_WAY = [1, 64, 1000]

interface Result {
  name: string
  underWay: number
  round: number
  nanoseconds: number
}

const work = async () => {}
const candidates: Record<string, () => (job: () => Promise<void>) => Promise<void>> = {
  'without a mailbox': () => (job) => job(),
  'mailbox, concurrency 1': () => mailboxOf(1),
  'mailbox, concurrency 64': () => mailboxOf(64),
}
const results: Result[] = []
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, open] of Object.entries(candidates)) {
    for (const underWay of UNDER_WAY) {
      const nanoseconds = await measure(open(), underWay)
      if (round > 0) results.push({ name, underWay, round, nanoseconds }) // Round 0 warms up.
    }
  }
}
const rows = Object.keys(candidates).map((name) => [
  name,
  ...UNDER_WAY.map((underWay) => {
    const rounds = results.filter((one) => one.name === name && one.underWay === underWay)
    return shownSpread(spread(rounds.map(({ nanoseconds }) => nanoseconds)))
  }),
])
const caption = 'Nanoseconds a message, median (least to most), with so many messages under way:'
const head = ['', ...UNDER_WAY.map((count) => shown(count))]
save('mailbox', { tables: [{ caption, rows: [head, ...rows] }], rounds: ROUNDS, messages: MESSAGES, results })

function mailboxOf(concurrency: number): (job: () => Promise<void>) => Promise<void> {
  const mailbox = new Mailbox({ name: 'bench', capacityCount: 1000, capacityBytes: 2 ** 20, concurrency })
  return (job) => mailbox.run(job, { count: 1, bytes: 400 })
}

/** @returns Nanoseconds a message. @throws {Error} When a message was not worked on. */
async function measure(run: (job: () => Promise<void>) => Promise<void>, underWay: number): Promise<number> {
  let started = 0
  let done = 0
  const client = async () => {
    while (started < MESSAGES) {
      started++
      await run(work)
      done++
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: underWay }, client))
  if (done !== MESSAGES) throw new Error(`${done} of ${MESSAGES} messages were worked on`)
  return ((performance.now() - began) * 1e6) / MESSAGES
}
