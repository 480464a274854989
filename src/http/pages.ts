/**
 * One page of something that has ids, streamed: a page may be a thousand texts of 64 KiB, so it is read and
 * written in parts, with at most one part in memory.
 */
import type { Context } from 'koa'
import type { Clock } from '../runtime/clock.ts'
import { Outflow } from './outflow.ts'

/** What a first part holds at most; the next are as many as fit the same memory, going by the ones before. */
const FIRST_COUNT = 100
const PART_CHARACTERS = 2 * 1024 * 1024

/** How a page is read and told. */
interface Page<T> {
  limit: number
  /** Up to `count` items beyond `cursor`, exclusive; undefined: from the range's edge. */
  read(cursor: string | undefined, count: number): Promise<readonly T[]>
  /** An item as JSON. */
  show(item: T): string
  /** Where to go on, told the last id of the page and whether it is full; null: nowhere. */
  next(lastId: string | undefined, full: boolean): string | null
}

/**
 * Answers with `{"items":[…],"next":…}`. An error of the first part is an error of the request, a later one
 * cuts the answer short.
 */
export async function replyPage<T extends { id: string }>(
  context: Context,
  clock: Clock,
  { limit, read, show, next }: Page<T>,
): Promise<void> {
  let asked = Math.min(limit, FIRST_COUNT)
  let part = await read(undefined, asked)
  const out = openJson(context, clock)
  await out.write('{"items":[')
  let count = 0
  let characters = 0
  let lastId: string | undefined
  for (;;) {
    for (const item of part) {
      const json = show(item)
      characters += json.length
      await out.write(count++ === 0 ? json : `,${json}`)
      lastId = item.id
    }
    if (part.length < asked || count >= limit) break
    const fitting = Math.ceil(PART_CHARACTERS / (characters / count))
    asked = Math.min(limit - count, fitting)
    part = await read(lastId, asked)
  }
  await out.write(`],"next":${JSON.stringify(next(lastId, count >= limit))}}`)
  await out.end()
}

/** Begins an answer of JSON that is written while it is made. */
export function openJson(context: Context, clock: Clock): Outflow {
  context.respond = false
  context.status = 200
  context.res.setHeader('Content-Type', 'application/json')
  return new Outflow(context.res, clock)
}
