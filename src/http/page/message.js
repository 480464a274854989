/** One message's life: when it was stored, what became of it, its headers and its body. */
import { askDead, askRedeliver, mayAct, tell } from './actions.js'
import { call, curlOf } from './api.js'
import { button, bytes, count, counted, duration, fill, h, instant, put } from './dom.js'
import { laidOut, visible } from './text.js'

/** While it is queued it is read again so often at most; a large one less. */
const AGAIN_MS = 900
const AGAIN_LARGE_MS = 10_000
const LARGE_CHARACTERS = 100_000
/** More of a body is shown when asked for. */
const SHOWN_CHARACTERS = 50_000

/** The view. @param {string} id */
export function messageView(id) {
  const life = h('ol', { class: 'life' })
  const head = h('div', {})
  const body = h('div', {})
  const acts = h('div', { class: 'bar' })
  const ending = new AbortController()
  let shown = ''
  let hasBody = false
  /** When it is read again, if it is. */
  let againAt = Number.POSITIVE_INFINITY

  const read = async () => {
    againAt = Number.POSITIVE_INFINITY
    try {
      const message = await call({ method: 'GET', path: `messages/${id}` }, ending.signal)
      const letter = message.state === 'dead' ? await letterOf(id, ending.signal) : undefined
      show(message, letter)
      if (message.state === 'queued') {
        againAt = Date.now() + (bodyText(message).length > LARGE_CHARACTERS ? AGAIN_LARGE_MS : AGAIN_MS)
      }
    } catch (error) {
      if (ending.signal.aborted) return
      const problem = /** @type {import('./api.js').Problem} */ (error)
      const isGone = problem.code === 'MR_NOT_FOUND'
      const next = isGone
        ? 'Messages leave the log after the retention. Check the id; it may be of another node.'
        : 'It is asked for again.'
      if (!hasBody) fill(life, h('li', { class: 'bad' }, h('h2', {}, problem.message), h('p', {}, next)))
      if (!isGone) againAt = Date.now() + AGAIN_MS
    }
  }

  /** @param {any} message @param {any} letter */
  const show = (message, letter) => {
    const now = JSON.stringify([message, letter])
    if (now === shown) return
    shown = now
    fill(life, ...stepsOf(message, letter))
    if (!hasBody) {
      fill(head, headersOf(message))
      fill(body, bodyOf(message))
      hasBody = true
    }
    fill(acts, ...buttonsOf(message, letter, read))
  }

  void read()
  return {
    title: 'Message',
    nodes: [h('p', { class: 'id' }, id), life, acts, head, body],
    // Comes once a second, and not while the tab is hidden.
    update() {
      if (Date.now() > againAt) void read()
      for (const age of life.querySelectorAll('[data-since]'))
        put(age, ageOf(age.getAttribute('data-since') ?? ''))
    },
    close() {
      ending.abort()
    },
    refresh: read,
  }
}

/** Why it is dead, and since when; undefined when it was purged. @param {string} id @param {AbortSignal} signal */
async function letterOf(id, signal) {
  return call({ method: 'GET', path: `dead/${id}` }, signal).catch((error) => {
    if (error.code !== 'MR_NOT_FOUND') throw error
  })
}

/** @param {any} message @param {any} letter */
function stepsOf(message, letter) {
  const { at, source, state, attempts, firstError, lastError, heldBy } = message
  const { nextAttemptAt, outage, paused, deliveredAt, deliveredTo } = message
  const steps = [
    step(
      'good',
      ['Stored ', instant(at)],
      [source === undefined ? 'Posted to /messages' : `From the source ${source}`],
    ),
  ]
  const isRunning = state === 'queued' && attempts > 0 && nextAttemptAt === null && outage === null && !paused
  const failed = isRunning ? attempts - 1 : attempts
  if (lastError !== null) {
    const errors = [
      firstError !== lastError && ['First error: ', ...visible(firstError)],
      ['Last error: ', ...visible(lastError)],
    ]
    const title = failed > 0 ? [counted(failed, 'attempt'), ' failed'] : ['No attempt is used up']
    steps.push(step('warn', title, ...errors))
  }
  if (state === 'queued') {
    const why = isRunning
      ? [`Attempt ${count(attempts)} is under way, or the next thing ${heldBy} does.`]
      : paused
        ? ['Delivery is paused. It goes on when delivery is resumed.']
        : outage !== null
          ? [`${outage.target} is away since `, instant(outage.since), ': ', ...visible(outage.why)]
          : nextAttemptAt !== null
            ? ['Next attempt ', instant(nextAttemptAt), `, by ${heldBy}`]
            : [`It is next: ${heldBy} has its lane.`]
    const probe = outage?.nextProbeAt && !paused && ['Next probe ', instant(outage.nextProbeAt)]
    steps.push(step('now', ['Waits, ', h('span', { 'data-since': at }, ageOf(at)), ' old'], why, probe))
  }
  if (state === 'delivered') {
    const took = duration((Date.parse(deliveredAt) - Date.parse(at)) / 1000)
    const tries = attempts === 0 ? 'no call of a handler' : counted(attempts, 'attempt')
    steps.push(
      step(
        'good',
        ['Delivered ', instant(deliveredAt)],
        [`To ${deliveredTo ?? 'an actor that is away'}, ${took} after it was stored, ${tries}`],
      ),
    )
  }
  if (state === 'dead') {
    const reason = letter && [...visible(letter.reason), `, on ${heldBy}`]
    const next = letter
      ? 'Replay it when the cause is mended.'
      : 'It was purged: its text is in the log only.'
    steps.push(step('bad', ['Dead ', letter && instant(letter.deadAt)], reason, [next]))
  }
  return steps
}

/** @param {string} at */
function ageOf(at) {
  return duration(Math.max(0, Date.now() - Date.parse(at)) / 1000)
}

/** @param {string} state @param {import('./dom.js').Child[]} title @param {...(import('./dom.js').Child[] | false | undefined)} lines */
function step(state, title, ...lines) {
  const said = lines.flatMap((line) => (line ? [h('p', {}, ...line)] : []))
  return h('li', { class: state }, h('h2', {}, ...title), ...said)
}

/** @param {any} message @param {any} letter @param {() => void} again */
function buttonsOf(message, letter, again) {
  const { id, state } = message
  const which = { ids: [id], many: 1, what: 'this dead letter' }
  const ofState = [
    state === 'delivered' && button('Deliver again…', () => askRedeliver(id)),
    letter && button('Replay…', () => askDead('replay', which, again)),
    letter && button('Purge…', () => askDead('purge', which, again)),
  ]
  return [
    button('Copy as curl', () => copy('curl line', asCurl(message))),
    button('Copy JSON', () => copy('JSON', JSON.stringify(message, null, 2))),
    button('Copy body', () => copy('body', bodyText(message))),
    ...(mayAct() ? ofState : []),
  ]
}

/** The post that would store its body again. One that is no text only a source takes. @param {any} message */
function asCurl({ text, base64, source, type }) {
  return text === undefined
    ? curlOf({ method: 'POST', path: `in/${source}`, base64, type })
    : curlOf({ method: 'POST', path: 'messages', text })
}

/** @param {{ text?: string, base64?: string }} message */
function bodyText({ text, base64 }) {
  return text ?? base64 ?? ''
}

/** @param {any} message */
function headersOf({ type, headers = {} }) {
  const all = Object.entries({ ...(type !== undefined && { 'content-type': type }), ...headers })
  if (all.length === 0) return undefined
  const rows = all.flatMap(([name, value]) => [h('dt', {}, ...visible(name)), h('dd', {}, ...visible(value))])
  return h('section', {}, h('h3', {}, 'Headers'), h('dl', { class: 'headers' }, ...rows))
}

/** @param {any} message */
function bodyOf(message) {
  const text = bodyText(message)
  const json = message.text === undefined ? undefined : laidOut(text)
  const kind =
    message.text === undefined ? 'not UTF-8, shown in base64' : json === undefined ? 'text' : 'JSON'
  const pre = h('pre', { tabindex: 0, role: 'region', 'aria-label': 'Body' })
  let whole = json ?? text
  const more = button('Show all of it', () => {
    fill(pre, ...visible(whole))
    more.remove()
  })
  const isCut = whole.length > SHOWN_CHARACTERS
  fill(pre, ...visible(isCut ? whole.slice(0, SHOWN_CHARACTERS) : whole))
  const raw = h('input', { type: 'checkbox' })
  raw.addEventListener('change', () => {
    whole = raw.checked ? text : (json ?? text)
    fill(pre, ...visible(whole.slice(0, isCut ? SHOWN_CHARACTERS : undefined)))
  })
  const size = message.text === undefined ? Math.floor((text.length * 3) / 4) : new Blob([text]).size
  return h(
    'section',
    {},
    h(
      'div',
      { class: 'bar' },
      h('h3', {}, `Body, ${bytes(size)}, ${kind}`),
      json !== undefined && h('label', {}, raw, ' as it came'),
    ),
    pre,
    isCut && more,
  )
}

/** @param {string} what @param {string} text */
async function copy(what, text) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Pages without TLS have no clipboard but this one.
    const area = h('textarea', { class: 'skip' })
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
  tell(`Copied: ${what}.`)
}
