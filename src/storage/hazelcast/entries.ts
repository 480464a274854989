/**
 * What stands in the clusters' maps, and under which keys. A lane is a range of keys: `003/…`.
 *
 *   cluster logging   mailroom.log        <batch key>             a batch: its lane and its texts
 *                                         <id>                    a restored message whose batch's entry lacks it
 *   cluster queue     mailroom.pending    <lane>/<batch key>*<n>  a batch of n messages; never changed
 *                                         <lane>/<id>             a lone message: one that was started or replayed
 *                     mailroom.delivered  <lane>/<batch key>      a batch, or what of it was settled together
 *                                         <lane>/<id>             a message that was settled alone
 *                     mailroom.dead       <lane>/<id>             a dead letter
 *                                         <lane>/<id>!            the mark of one that was purged
 *                     mailroom.keys       <idempotency key>       what it stands for
 *                     mailroom.leases     <lane>                  who holds it
 *                     mailroom.mail-<lane>                        a queue of keys in `pending`: the wake-up
 *   both              mailroom.meta       begun                   what the cluster was begun with
 *                     mailroom.restored   <journal>, <lane>       how far it was put back from journals
 *
 * Ids in a batch count from 01, so a batch's key (its ids with 00) is no message's id.
 */
import { batchKeyOf, idAtPlace, placeOf } from '../ids.ts'
import type { Attempts, Letter } from '../lane.ts'
import type { Delivered, IdempotencyKey, Logged, Message } from '../ports.ts'

/** The maps and queues by what they are for. */
export const NAMES = {
  log: 'mailroom.log',
  pending: 'mailroom.pending',
  delivered: 'mailroom.delivered',
  dead: 'mailroom.dead',
  keys: 'mailroom.keys',
  leases: 'mailroom.leases',
  restored: 'mailroom.restored',
  meta: 'mailroom.meta',
} as const

/** Maps that are read by ranges of keys. */
export const RANGED: readonly string[] = [NAMES.log, NAMES.pending, NAMES.delivered, NAMES.dead]

/** A batch in the log. */
export interface LogEntry {
  lane: number
  /** By place in the batch; null: not in this entry. A message alone: its text. */
  texts: (string | null)[]
}

/** A batch that waits; `keyed`: what a repeat of its post is known by, for whoever logs it instead of the facade. */
export interface PendingEntry {
  texts: string[]
  keyed?: IdempotencyKey
}

/** A message out of its batch: started, waiting for a retry, or replayed. `dueAt` is in ms since 1970. */
export interface LoneEntry extends Attempts {
  text: string
  /** It was a dead letter, which goes if it is still there. */
  replayed: boolean
}

/** Messages that were settled together, or put back from journals together. */
export interface DeliveredEntry {
  /** By place in the batch; null: not settled here. A lone message: one text. */
  texts: (string | null)[]
  deliveredAt: number
  attempts: number
  /** By place, where they were not the same for all. */
  own?: (Delivery | null)[]
}

/** When a message was delivered, and after how many attempts. */
export type Delivery = Pick<DeliveredEntry, 'deliveredAt' | 'attempts'>

/** A dead letter; its id is in its key. */
export interface DeadEntry extends Letter {
  text: string
  deadAt: number
}

/** What an idempotency key stands for. */
export interface KeyEntry {
  batchKey: string
  count: number
  hash: string
  /** Its batch is durable. */
  done: boolean
}

/** The name of a lane's queue. */
export function mailOf(lane: number): string {
  return `mailroom.mail-${laneName(lane)}`
}

/** A lane as keys write it: three digits, so that keys sort by lane. */
export function laneName(lane: number): string {
  return String(lane).padStart(3, '0')
}

/** The first and the last key a lane can have, inclusive. */
export function laneBounds(lane: number): [from: string, to: string] {
  return [`${laneName(lane)}/`, `${laneName(lane)}/~`]
}

/** Of a lane's message or batch. */
export function laneKey(lane: number, id: string): string {
  return `${laneName(lane)}/${id}`
}

/** Under which a batch waits. Its size is told by the key alone. */
export function pendingKey(lane: number, batchKey: string, count: number): string {
  return `${laneKey(lane, batchKey)}*${count}`
}

/** A key of `pending` taken apart; `count` is undefined for a lone message. */
export function partsOf(key: string): { id: string; count: number | undefined } {
  const [id = '', count] = key.slice(key.indexOf('/') + 1).split('*')
  return { id, count: count === undefined ? undefined : Number(count) }
}

/** The messages of a batch. */
export function messagesOf(batchKey: string, texts: readonly string[]): Message[] {
  return texts.map((text, index) => ({ id: idAtPlace(batchKey, index + 1), text }))
}

/** The messages of an entry of the log, ascending. */
export function loggedOf(id: string, json: string): Logged[] {
  const { lane, texts } = JSON.parse(json) as LogEntry
  if (placeOf(id) !== 0) return [{ id, text: texts[0]!, lane }]
  return texts.flatMap((text, index) => (text === null ? [] : [{ id: idAtPlace(id, index + 1), text, lane }]))
}

/** The messages of an entry of `delivered`, ascending. */
export function deliveredOf(id: string, json: string): Delivered[] {
  const { texts, own, ...all } = JSON.parse(json) as DeliveredEntry
  if (placeOf(id) !== 0) return [{ id, text: texts[0]!, ...all }]
  return texts.flatMap((text, index) =>
    text === null ? [] : [{ id: idAtPlace(id, index + 1), text, ...all, ...own?.[index] }],
  )
}

/** The keys in `delivered` that can hold a message. */
export function deliveredKeysOf(lane: number, id: string): [alone: string, inBatch: string] {
  return [laneKey(lane, id), laneKey(lane, batchKeyOf(id))]
}
