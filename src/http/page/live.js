/** What Mailroom says by itself: the figures once a second, and whether it is ready. Nothing while nobody looks. */
import { call, session, sleep, urlOf } from './api.js'

/** @typedef {import('../../runtime/stats.ts').Stats} Stats */
/** @typedef {import('../../runtime/stats.ts').Distribution} Distribution */
/** @typedef {{ missing: string[], degraded?: string[], damaged?: string[], restoring?: string[], warnings?: string[] }} Ready */

/** A rate is that of the last seconds, so many. */
const WINDOW = 5
/** Without figures for so long the connection counts as lost. */
const SILENCE_MS = 5000
const READY_MS = 2000

/** @type {{ stats: Stats | undefined, ready: Ready | undefined, isLost: boolean, at: number }} */
export const live = { stats: undefined, ready: undefined, isLost: false, at: 0 }

/** The figures of the last seconds, the oldest first. @type {Stats[]} */
const past = []
/** @type {Set<() => void>} */
const listeners = new Set()
/** @type {EventSource | undefined} */
let source
let isWanted = false

/** Calls when there is something new. @param {() => void} listener @returns {() => void} A function that ends it. */
export function onLive(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** A count of the figures per second; undefined until there are two of them. @param {(stats: Stats) => number | undefined} pick */
export function rateOf(pick) {
  const [first, last] = [past[0], past.at(-1)]
  if (first === undefined || last === undefined || first === last) return undefined
  const [before, now] = [pick(first), pick(last)]
  if (before === undefined || now === undefined || now < before) return undefined
  return ((now - before) * 1000) / (last.at - first.at)
}

/**
 * What a part of the last seconds' durations did not exceed, in seconds; undefined when there were none.
 *
 * @param {number} part From 0 to 1.
 * @param {(stats: Stats) => Distribution} pick
 */
export function quantileOf(part, pick) {
  const [first, last] = [past[0], past.at(-1)]
  return first && last && quantileBetween(part, pick(first), pick(last))
}

/**
 * The last second, as the charts show it. Counts are per second, durations in seconds, null without any.
 *
 * @typedef {{ at: number, accepted: number, delivered: number, refused: number, died: number, waiting: number,
 *   acceptP99: number | null, deliveryP99: number | null }} Point
 * @returns {Point | undefined}
 */
export function pointNow() {
  const [before, now] = past.slice(-2)
  if (before === undefined || now === undefined) return undefined
  /** @param {'accepted' | 'delivered' | 'refused' | 'died'} name */
  const per = (name) => Math.max(0, ((now[name] - before[name]) * 1000) / (now.at - before.at))
  return {
    ...{ at: now.at, waiting: now.waiting },
    ...{ accepted: per('accepted'), delivered: per('delivered'), refused: per('refused'), died: per('died') },
    acceptP99: quantileBetween(0.99, before.accept, now.accept) ?? null,
    deliveryP99: quantileBetween(0.99, before.delivery, now.delivery) ?? null,
  }
}

/** @param {number} part @param {Distribution} before @param {Distribution} now */
function quantileBetween(part, before, now) {
  const isSince = before !== now && before.count <= now.count
  const counts = [...now.buckets.map(([, all]) => all), now.count].map(
    (all, index) => all - (isSince ? (before.buckets[index]?.[1] ?? before.count) : 0),
  )
  const all = counts.at(-1) ?? 0
  if (all === 0) return undefined
  const index = counts.findIndex((each) => each >= part * all)
  const [low, high] = [now.buckets[index - 1]?.[0] ?? 0, now.buckets[index]?.[0]]
  if (high === undefined) return low
  const [below, upTo] = [counts[index - 1] ?? 0, counts[index] ?? 0]
  return low + ((high - low) * (part * all - below)) / (upTo - below)
}

/** Listens for as long as the page is seen. */
export function start() {
  document.addEventListener('visibilitychange', turn)
  setInterval(check, 1000)
  setInterval(askReady, READY_MS)
  turn()
}

function turn() {
  const isSeen = document.visibilityState === 'visible'
  if (isSeen === isWanted) return
  isWanted = isSeen
  // A browser has six connections for a site: hidden tabs must not take them.
  if (!isWanted) source?.close()
  else {
    live.at = Date.now()
    open()
    askReady()
  }
}

function open() {
  source?.close()
  source = new EventSource(urlOf('events?only=stats'))
  source.addEventListener('stats', ({ data }) => {
    /** @type {Stats} */
    const stats = JSON.parse(data)
    live.stats = stats
    if (past.length > 0 && stats.at - (past.at(-1)?.at ?? 0) > 1000 * WINDOW) past.length = 0
    past.push(stats)
    if (past.length > WINDOW + 1) past.shift()
    found()
  })
  // The browser comes back by itself, but not after an answer that is no stream.
  source.addEventListener('error', () => source?.readyState === EventSource.CLOSED && void reopen(source))
}

/** @param {EventSource} failed */
async function reopen(failed) {
  lost()
  await sleep(1000 + Math.random() * 1000)
  if (!isWanted || failed !== source) return
  const isKnown = await call({ method: 'GET', path: 'session' }).then(
    ({ role }) => role === 'read' || role === 'all',
    () => true,
  )
  if (isKnown) open()
  else dispatchEvent(new Event('signed-out'))
}

/** A connection may be open and dead, when the process behind it is frozen or a network is gone. */
function check() {
  if (!isWanted || session.role === null || session.role === 'post') return
  if (Date.now() - live.at < SILENCE_MS) return
  lost()
  if (source?.readyState === EventSource.OPEN) open()
}

async function askReady() {
  if (!isWanted) return
  try {
    const response = await fetch(urlOf('readyz'), { cache: 'no-store' })
    live.ready = await response.json()
  } catch {
    live.ready = undefined
  }
  tell()
}

function found() {
  live.at = Date.now()
  live.isLost = false
  tell()
}

function lost() {
  past.length = 0
  live.isLost = true
  tell()
}

function tell() {
  for (const listener of listeners) listener()
}
