/** The sentence at the top: what is wrong, and what to do next. The worst comes first. */
import { askConfirmLosses, askPause, mayAct } from './actions.js'
import { button, bytes, clock, counted, duration, fill, h, put } from './dom.js'
import { live } from './live.js'
import { shownText, visible } from './text.js'

/**
 * `what` stays the same for as long as it is wrong, so that it is read out once; `detail` may change each second.
 *
 * @typedef {{ level: 'bad' | 'warn', what: string, detail?: string, next: string, action?: () => Node }} Finding
 */

const DISK_LEFT = 0.1
/** Who waits for longer than this is worth a sentence. */
const LONG_S = 60
const SHOWN_COUNT = 5
const FINE = 'Messages are taken and delivered.'

/** @returns {Finding[]} */
function findings() {
  const { stats, ready, isLost, at } = live
  /** @type {Finding[]} */
  const found = []
  if (isLost) {
    found.push({
      level: 'bad',
      what: 'The connection to Mailroom is lost.',
      next: `This page comes back by itself.${stats === undefined ? '' : ` What you see is of ${clock(at)}.`}`,
    })
    return found
  }
  const { missing = [], degraded = [], damaged = [], restoring = [], warnings = [] } = ready ?? {}
  const lacks = missing.filter((what) => !what.endsWith('is draining'))
  if (lacks.length < missing.length) {
    found.push({
      level: 'bad',
      what: 'This node is stopping.',
      next: 'Nothing is lost. Another node takes posts, or this one when it is back.',
    })
  }
  if (lacks.length > 0) {
    found.push({
      level: 'bad',
      what: 'Posts are refused.',
      detail: `Missing: ${lacks.join('; ')}.`,
      next: 'Clients get 503 and repeat. Look at the log lines of this node; it takes posts again as soon as this is back.',
    })
  }
  for (const what of damaged) {
    const [, loss, told = ''] = /^(.*Hazelcast cluster .*?): (.*)$/.exec(what) ?? []
    if (loss !== undefined) {
      found.push({
        level: 'bad',
        what: `${capitalized(loss)}.`,
        next: `${capitalized(told)}.`,
        // All are confirmed at once.
        ...(mayAct() &&
          !found.some(({ action }) => action) && { action: () => button('Confirm…', askConfirmLosses) }),
      })
      continue
    }
    found.push({
      level: 'bad',
      what: `Data is damaged: ${what}.`,
      next: 'Mailroom goes on without it. Restore it from a backup, or redrive, as docs/operations.md says.',
    })
  }
  for (const what of restoring) {
    found.push({
      level: 'warn',
      what: `Being put back, ${what.replace(/: .*/, '')}.`,
      detail: `${what.replace(/^.*?: /, '')}.`,
      next: 'Posts are taken. Reads may lack messages until it is done.',
    })
  }
  for (const { target, since, why, nextProbeAt } of stats?.outages ?? []) {
    const now = stats?.at ?? 0
    const probe =
      nextProbeAt === null ? 'after the pause' : `in ${duration(Math.max(0, nextProbeAt - now) / 1000)}`
    found.push({
      level: 'bad',
      what: `${capitalized(target)} is away since ${clock(since)}.`,
      detail: `For ${duration(Math.max(0, now - since) / 1000)}; ${waiting(stats?.waiting ?? 0)}. Last error: ${why.replace(/\.$/, '')}. Next probe ${probe}.`,
      next: 'Bring it back. What waits uses up no attempt, and follows by itself.',
    })
  }
  if (stats?.paused) {
    found.push({
      level: 'warn',
      what: 'Delivery is paused.',
      detail: `${capitalized(waiting(stats.waiting))}.`,
      next: 'Posts are taken all the while.',
      ...(mayAct() && { action: () => button('Resume…', () => askPause(false)) }),
    })
  }
  if (stats && stats.oldestWaitingSeconds > LONG_S && !stats.paused && stats.outages.length === 0) {
    const { lastFailure, retrying, oldestWaitingSeconds } = stats
    found.push({
      level: 'warn',
      what: 'Messages have waited for longer than a minute.',
      detail: `The oldest for ${duration(oldestWaitingSeconds)}; ${retrying === 0 ? 'none of them has failed' : `${counted(retrying, 'message')} failed and will be tried again`}.${lastFailure ? ` Last error, on ${lastFailure.actor}: ${lastFailure.error.replace(/\.$/, '')}.` : ''}`,
      next: lastFailure
        ? 'Mend the cause; see'
        : 'Look below which actor is slow or not ready; more messages actors may help.',
      ...(lastFailure && {
        action: () => h('a', { href: `#/messages/${lastFailure.id}` }, 'the message that failed last.'),
      }),
    })
  }
  for (const { node, freeBytes, dataBytes } of stats?.disks ?? []) {
    if (freeBytes > 1e9 && freeBytes > DISK_LEFT * (freeBytes + dataBytes)) continue
    found.push({
      level: 'warn',
      what: `The disk of ${node} is nearly full.`,
      detail: `${bytes(freeBytes)} are free.`,
      next: 'Make room, or keep messages for a shorter time (--retention). A full disk refuses posts and loses nothing.',
    })
  }
  for (const what of degraded) {
    // Said above, with more.
    if (/^an outage of |^delivery is paused/.test(what)) continue
    // What an actor lacks is said above when posts are refused for it.
    if (lacks.some((lack) => lack.endsWith(what.replace(/^.*?: /, '')))) continue
    const isLanes = what.startsWith('holders of ')
    const lacksMessages = what === 'a ready messages actor'
    found.push({
      level: 'warn',
      what: isLanes || lacksMessages ? `Missing: ${what}.` : `Degraded: ${what}.`,
      next:
        isLanes || lacksMessages
          ? 'What was posted waits. If it lasts for a minute, restart the messages actors.'
          : what.startsWith('overloaded')
            ? 'Clients that get 429 repeat. Send less at once, or scale up.'
            : 'The log lines of that actor say why.',
    })
  }
  for (const what of warnings)
    found.push({ level: 'warn', what: `${what}.`, next: 'Mailroom works with it.' })
  return found
}

/** @param {number} many */
function waiting(many) {
  return many === 1 ? '1 message waits' : `${counted(many, 'message')} wait`
}

/** @param {string} text */
function capitalized(text) {
  return text.replace(/^[a-z](?!\w*:\/)/, (letter) => letter.toUpperCase())
}

let shown = ''

/** Shows it. The buttons stay while only details change. */
export function showHealth() {
  const place = /** @type {HTMLElement} */ (document.querySelector('#health'))
  const said = /** @type {HTMLElement} */ (document.querySelector('#said'))
  const all = findings()
  const now = JSON.stringify([all.map(({ what, next }) => what + next), live.stats === undefined])
  if (now !== shown) {
    shown = now
    place.className = all.some(({ level }) => level === 'bad') ? 'bad' : all.length > 0 ? 'warn' : 'good'
    const isFine = all.length === 0 && live.stats !== undefined
    const worst = all
      .slice(0, SHOWN_COUNT)
      .map(({ what, next, action }) =>
        h(
          'p',
          {},
          h('strong', {}, ...visible(what)),
          ' ',
          h('span', { class: 'detail' }),
          ' ',
          next,
          ' ',
          action?.(),
        ),
      )
    fill(
      place,
      isFine && h('p', {}, FINE),
      ...worst,
      all.length > SHOWN_COUNT && h('p', {}, `And ${all.length - SHOWN_COUNT} more: mailroom status`),
    )
    put(said, isFine ? FINE : all.map(({ what }) => what).join(' '))
  }
  for (const [index, detail] of [...place.querySelectorAll('.detail')].entries()) {
    put(detail, shownText(all[index]?.detail ?? ''))
  }
}
