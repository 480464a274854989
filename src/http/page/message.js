/** One message's life: when it was stored, what became of it, its headers and its body. */
import { askDead, askRedeliver, mayAct, tell } from './actions.js'
import { call, curlOf } from './api.js'
import { button, bytes, counted, duration, fill, h, instant } from './dom.js'
import { laidOut, visible } from './text.js'

/** While it is queued it is read again so often; a large one less. */
const AGAIN_MS = 1000
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
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer

  const read = async () => {
    clearTimeout(timer)
    try {
      const message = await call({ method: 'GET', path: `messages/${id}` }, ending.signal)
      const letter = message.state === 'dead' ? await letterOf(id, ending.signal) : undefined
      show(message, letter)
      if (message.state === 'queued') {
        timer = setTimeout(read, bodyText(message).length > LARGE_CHARACTERS ? AGAIN_LARGE_MS : AGAIN_MS)
      }
    } catch (error) {
      if (ending.signal.aborted) return
      const problem = /** @type {import('./api.js').Problem} */ (error)
      const isGone = problem.code === 'MR_NOT_FOUND'
      const next = isGone
        ? 'Messages leave the log after the retention. Check the id; it may be of another node.'
        : 'It is asked for again.'
      if (!hasBody) fill(life, h('li', { class: 'bad' }, h('h2', {}, problem.message), h('p', {}, next)))
      if (!isGone) timer = setTimeout(read, 2000)
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
    fill(acts, ...buttonsOf(message, read))
  }

  void read()
  return {
    title: 'Message',
    nodes: [h('p', { class: 'id' }, id), life, acts, head, body],
    update() {},
    close() {
      ending.abort()
      clearTimeout(timer)
    },
    refresh: read,
  }
}

/** A dead letter has the first error, too. @param {string} id @param {AbortSignal} signal */
async function letterOf(id, signal) {
  return call({ method: 'GET', path: `dead/${id}` }, signal).catch(() => undefined)
}

/** @param {any} message @param {any} letter */
function stepsOf(
  { at, source, state, attempts, lastError, nextAttemptAt, outage, deliveredAt, deliveredTo },
  letter,
) {
  const steps = [
    step(
      'good',
      ['Stored ', instant(at)],
      [source === undefined ? 'Posted to /messages' : `From the source ${source}`],
    ),
  ]
  if (attempts > 0 && (lastError !== null || state !== 'delivered')) {
    const errors = [
      letter?.firstError &&
        letter.firstError !== lastError && ['First error: ', ...visible(letter.firstError)],
      lastError !== null && ['Last error: ', ...visible(lastError)],
    ]
    steps.push(step('warn', [counted(attempts, 'attempt')], ...errors))
  }
  if (state === 'queued') {
    const since = duration(Math.max(0, Date.now() - Date.parse(at)) / 1000)
    const why =
      outage !== null
        ? [`${outage.target} is away since `, instant(outage.since), ': ', ...visible(outage.why)]
        : nextAttemptAt !== null
          ? ['Next attempt ', instant(nextAttemptAt)]
          : ['It is next, unless delivery is paused or its lane has no holder.']
    steps.push(step('now', [`Waits, ${since} old`], why))
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
    const reason = letter === undefined ? [] : [...visible(letter.reason)]
    steps.push(
      step('bad', ['Dead ', letter && instant(letter.deadAt)], reason, [
        'Replay it when the cause is mended.',
      ]),
    )
  }
  return steps
}

/** @param {string} state @param {import('./dom.js').Child[]} title @param {...(import('./dom.js').Child[] | false | undefined)} lines */
function step(state, title, ...lines) {
  const said = lines.flatMap((line) => (line ? [h('p', {}, ...line)] : []))
  return h('li', { class: state }, h('h2', {}, ...title), ...said)
}

/** @param {any} message @param {() => void} again */
function buttonsOf(message, again) {
  const { id, state } = message
  const ofState = mayAct()
    ? {
        queued: [],
        delivered: [button('Deliver again…', () => askRedeliver(id))],
        dead: [
          button('Replay…', () => askDead('replay', { ids: [id], many: 1, what: 'this dead letter' }, again)),
          button('Purge…', () => askDead('purge', { ids: [id], many: 1, what: 'this dead letter' }, again)),
        ],
      }[/** @type {'queued' | 'delivered' | 'dead'} */ (state)]
    : []
  return [
    button('Copy as curl', () => copy('curl line', asCurl(message))),
    button('Copy JSON', () => copy('JSON', JSON.stringify(message, null, 2))),
    button('Copy body', () => copy('body', bodyText(message))),
    ...ofState,
  ]
}

/** The post that would store its text again. A body that is no text is posted in base64. @param {any} message */
function asCurl(message) {
  return curlOf({ method: 'POST', path: 'messages', text: bodyText(message) })
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
