/** How long pages and look-ups take, at several places of the log. */
import { percentile } from './figures.ts'
import type { Mailroom } from './mailroom.ts'

const READS = 40
const PAGE = 100

/** Median and 99th percentile of one kind of read, in ms. */
export interface ReadTimes {
  p50Ms: number
  p99Ms: number
}

/** Reads each kind 40 times, in turns, so that what disturbs one disturbs all. */
export async function readTimes(mailroom: Mailroom): Promise<Map<string, ReadTimes>> {
  const ids = async (path: string) =>
    (await mailroom.get<{ items: { id: string }[] }>(path)).items.map(({ id }) => id)
  const head = await ids('/log?limit=1000')
  const oldest = await ids('/log?limit=1000&after=00000000000000000000000000')
  const middle = await ids(`/log?limit=${PAGE}&before=${middleOf(oldest[0]!, head[0]!)}`)
  const kinds: Record<string, () => Promise<number>> = {
    'page of the log, head': async () => (await ids(`/log?limit=${PAGE}`)).length,
    'page of the log, middle': async () => (await ids(`/log?limit=${PAGE}&before=${middle[0]}`)).length,
    'page of the log, tail': async () => (await ids(`/log?limit=${PAGE}&before=${oldest[PAGE]}`)).length,
    'newest of both lists': async () => {
      // Of 1,000 messages, the messages actor that is asked may have been given few.
      return (await mailroom.get<{ logged: unknown[] }>(`/messages?limit=${PAGE}`)).logged.length
    },
    'look-up, head': () => lookUp(head[0]!),
    'look-up, middle': () => lookUp(middle[0]!),
    'look-up, tail': () => lookUp(oldest[0]!),
  }
  const lookUp = async (id: string) => {
    const { state } = await mailroom.get<{ state: string }>(`/messages/${id}`)
    return state === 'delivered' ? PAGE : 0
  }
  const times = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]))
  for (let read = 0; read < READS; read++) {
    for (const [kind, ask] of Object.entries(kinds)) {
      const began = performance.now()
      if ((await ask()) < PAGE) throw new Error(`${kind}: too few messages`)
      times.get(kind)!.push(performance.now() - began)
    }
  }
  const figuresOf = (values: number[]) => {
    const sorted = values.toSorted((a, b) => a - b)
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) }
  }
  return new Map([...times].map(([kind, values]) => [kind, figuresOf(values)]))
}

/** An id about half way in time: the ten characters of an id that are its instant, counted in base 32. */
export function middleOf(low: string, high: string): string {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
  const instant = (id: string) =>
    [...id.slice(0, 10)].reduce((sum, char) => sum * 32 + digits.indexOf(char), 0)
  let middle = Math.ceil((instant(low) + instant(high)) / 2)
  let head = ''
  for (let index = 0; index < 10; index++) {
    head = digits[middle % 32] + head
    middle = Math.floor(middle / 32)
  }
  return head + 'Z'.repeat(16)
}
