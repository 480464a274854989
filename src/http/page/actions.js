/** What a person can do: each action says what it will do, shows its call as a curl line, and says what it did. */
import { call, callPatiently, curlOf, Problem, session } from './api.js'
import { button, count, counted, fill, h, put } from './dom.js'

/** @typedef {import('./api.js').Request} Request */
/** @typedef {Record<string, string>} Values */
/** @typedef {{ signal: AbortSignal, progress: (words: string, part?: number) => void }} Run */

/**
 * @typedef {object} Action
 * @property {string} name
 * @property {string} verb What the button says that does it.
 * @property {string} will What it will do.
 * @property {HTMLElement[]} [fields] What is asked; each input has a name.
 * @property {(values: Values) => Request} request The call, or the first of them.
 * @property {(values: Values, run: Run) => Promise<any>} [run] Makes the calls, when it is not one.
 * @property {(done: any, values: Values) => import('./dom.js').Child[]} did What it did.
 * @property {boolean} [isDangerous] It cannot be undone.
 */

/** True when this page's role may. */
export function mayAct() {
  return session.role === 'all'
}

/** Shows an action and does it when that is confirmed. @param {Action} action */
export function ask(action) {
  const { name, verb, will, fields = [], request, run, did, isDangerous = false } = action
  const ending = new AbortController()
  const code = h('code', {})
  const bar = h('progress', { 'aria-label': 'Progress' })
  const words = h('span', {})
  const progress = h('p', { class: 'progress', hidden: true }, bar, words)
  const wrong = h('p', { class: 'wrong', role: 'alert' })
  const go = h('button', { type: 'submit', class: isDangerous ? 'danger' : 'primary' }, verb)
  const leave = button('Cancel', () => dialog.close())
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', { id: 'asked' }, name),
    h('p', {}, will),
    ...fields,
    h('p', { class: 'curl' }, h('span', {}, 'The same in a shell'), code),
    progress,
    wrong,
    h('p', { class: 'buttons' }, leave, go),
  )
  const dialog = h('dialog', { 'aria-labelledby': 'asked' }, form)
  const values = () => /** @type {Values} */ (Object.fromEntries(new FormData(form)))
  const showCall = () => put(code, curlOf(request(values())))
  form.addEventListener('input', showCall)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const given = values()
    put(wrong, '')
    go.disabled = true
    try {
      const done = await (run === undefined
        ? call(request(given))
        : run(given, {
            signal: ending.signal,
            progress(text, part) {
              progress.hidden = false
              put(words, text)
              put(leave, 'Stop')
              if (part === undefined) bar.removeAttribute('value')
              else bar.value = part
            },
          }))
      dialog.close()
      tell(...did(done, given))
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (ending.signal.aborted) {
        tell(error instanceof Problem ? message : `Stopped. ${words.textContent}.`)
        return
      }
      progress.hidden = true
      put(leave, 'Close')
      put(wrong, message)
    } finally {
      go.disabled = false
    }
  })
  dialog.addEventListener('close', () => {
    ending.abort()
    dialog.remove()
  })
  document.body.append(dialog)
  showCall()
  dialog.showModal()
  const first = /** @type {HTMLElement | null} */ (form.querySelector('input, textarea, select'))
  ;(first ?? (isDangerous ? leave : go)).focus()
}

/** Says what was done, for eyes and for screen readers. @param {...import('./dom.js').Child} words */
export function tell(...words) {
  const place = /** @type {Element} */ (document.querySelector('#told'))
  fill(
    place,
    h(
      'p',
      {},
      h('span', {}, ...words),
      button('×', () => fill(place), { 'aria-label': 'Dismiss' }),
    ),
  )
}

/**
 * Makes the calls of a path page by page, as the answer's `next` says, and sums the numbers up.
 *
 * @param {string} path
 * @param {Run} run
 * @param {(sum: Record<string, number>) => [words: string, part?: number]} wordsOf
 */
export async function walk(path, { signal, progress }, wordsOf) {
  /** @type {Record<string, number>} */
  const sum = {}
  /** @type {string | null} */
  let next = path
  progress(...wordsOf(sum))
  while (next !== null) {
    signal.throwIfAborted()
    const { next: following, ...counts } = await callPatiently({ method: 'POST', path: next }, signal)
    for (const [name, value] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + value
    progress(...wordsOf(sum))
    next = following
  }
  return sum
}

/** @param {string} label @param {HTMLElement} input */
function field(label, input) {
  return h('label', { class: 'field' }, h('span', {}, label), input)
}

const ROLES = ['facade', 'logging', 'messages']

/** @param {string} chosen */
function roleField(chosen) {
  const options = ROLES.map((role) => h('option', { value: role, selected: role === chosen }, role))
  return field('Role', h('select', { name: 'role' }, ...options))
}

/** A key, so that the post may be repeated. It is none of a secret's randomness: pages without TLS have no other. */
function newKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-')
}

export function askPost() {
  const key = newKey()
  ask({
    name: 'Post a message',
    verb: 'Post',
    will: 'Stores one message and delivers it, as any client would. The key makes a repeat safe.',
    fields: [field('Text', h('textarea', { name: 'text', rows: 6, required: true, spellcheck: 'false' }))],
    request: ({ text = '' }) => ({
      method: 'POST',
      path: 'messages',
      text: text.replaceAll('\r\n', '\n'),
      key,
    }),
    // Who may only post may not look at it.
    did: ({ id }) => [
      'Stored as ',
      session.role === 'post' ? id : h('a', { href: `#/messages/${id}` }, id),
      '.',
    ],
  })
}

/** @param {string} [role] @param {number} [now] */
export function askScale(role = 'messages', now = 2) {
  ask({
    name: 'Scale',
    verb: 'Scale',
    will: 'Starts actors, or drains the last ones, until there are so many on this node. No request fails meanwhile. The next start takes the numbers from its flags.',
    fields: [
      roleField(role),
      field(
        'Actors',
        h('input', { name: 'count', type: 'number', min: 1, max: 64, value: now, required: true }),
      ),
    ],
    request: ({ role, count }) => ({ method: 'PUT', path: `actors/${role}`, body: { count: Number(count) } }),
    did: (actors, { role, count }) => [`Scaled ${role} to ${count}: ${namesOf(actors, role)}.`],
  })
}

/** @param {string} [role] */
export function askRestart(role = 'messages') {
  ask({
    name: 'Restart actors',
    verb: 'Restart',
    will: 'Restarts the actors of the role one by one. Each new one is ready before the old one drains: no request fails. They read the handler and the sources anew.',
    fields: [roleField(role)],
    request: ({ role }) => ({ method: 'POST', path: `actors/${role}/restart` }),
    did: (actors, { role }) => [`Restarted ${namesOf(actors, role)}.`],
  })
}

/** @param {{ name: string, role: string }[]} actors @param {string | undefined} role */
function namesOf(actors, role) {
  return actors.flatMap((actor) => (actor.role === role ? [actor.name] : [])).join(', ')
}

/** @param {boolean} paused */
export function askPause(paused) {
  ask({
    name: paused ? 'Pause delivery' : 'Resume delivery',
    verb: paused ? 'Pause' : 'Resume',
    will: paused
      ? 'No delivery begins any more, on all nodes, over restarts too. Posts are taken all the while, and messages wait until you resume.'
      : 'Delivers again. The messages that wait come first.',
    request: () => ({ method: 'PUT', path: 'delivery', body: { paused } }),
    did: () => [paused ? 'Delivery is paused.' : 'Messages are delivered again.'],
  })
}

export function askRedrive() {
  const path = 'log/redrive?limit=1000'
  ask({
    name: 'Redrive',
    verb: 'Redrive',
    will: 'Compares the log with the queue, and puts back what either has lost. For use after a loss of data. Handlers of messages that were lost may run again.',
    request: () => ({ method: 'POST', path }),
    async run(_, run) {
      const queue = await walk(path, run, ({ checked = 0 }) => [
        `${counted(checked, 'message')} of the log looked at`,
      ])
      const log = await walk(`${path}&lane=0`, run, ({ checked = 0 }) => [
        `${counted(checked, 'message')} of the queue looked at`,
      ])
      return { redriven: queue['redriven'] ?? 0, restored: log['restored'] ?? 0 }
    },
    did: ({ redriven, restored }) => [
      `${counted(redriven, 'message')} put back into the queue, ${counted(restored, 'message')} into the log.`,
    ],
  })
}

export function askConfirmLosses() {
  ask({
    name: 'Confirm the losses',
    verb: 'Confirm',
    will: 'No node reports any more what the clusters have lost. It puts nothing back: do what the sentence says first.',
    request: () => ({ method: 'POST', path: 'loss/confirm' }),
    did: ({ losses }) => [
      losses.length === 1 ? '1 loss is confirmed.' : `${losses.length} losses are confirmed.`,
    ],
  })
}

/** @param {string} id */
export function askRedeliver(id) {
  ask({
    name: 'Deliver again',
    verb: 'Deliver again',
    will: 'Runs the handler, or forwards, once more for this message, and waits for the outcome. The lists stay as they are.',
    request: () => ({ method: 'POST', path: `messages/${id}/redeliver` }),
    did: () => [`${id} was delivered again.`],
  })
}

/**
 * Replays or purges dead letters.
 *
 * @param {'replay' | 'purge'} change
 * @param {{ ids?: string[], query?: string, many: number, what: string }} which Those of `ids`, or else as the query of
 * the call says; `many`: how many there are at least.
 * @param {() => void} after
 */
export function askDead(change, { ids, query = '', many, what }, after) {
  const isReplay = change === 'replay'
  /** @param {string} id @returns {Request} */
  const ofOne = (id) =>
    isReplay ? { method: 'POST', path: `dead/${id}/replay` } : { method: 'DELETE', path: `dead/${id}` }
  const path = `dead/${change}?limit=500${query}`
  const done = isReplay ? 'pending again' : 'deleted'
  /** @param {number} changed @param {number} checked @returns {[string, number]} */
  const words = (changed, checked) => [
    `${count(changed)} of ${counted(many, 'dead letter')} ${done}`,
    checked / Math.max(many, checked, 1),
  ]
  ask({
    name: `${isReplay ? 'Replay' : 'Purge'} ${what}`,
    verb: isReplay ? 'Replay' : 'Purge',
    will: isReplay
      ? 'Makes them pending again, with all their attempts. Handlers run again.'
      : 'Deletes them for good: they can not be replayed any more. Their messages stay in the log.',
    isDangerous: !isReplay,
    request: () => (ids === undefined ? { method: 'POST', path } : ofOne(ids[0] ?? '')),
    async run(_, run) {
      try {
        if (ids === undefined) {
          const { replayed = 0, purged = 0 } = await walk(
            path,
            run,
            ({ checked = 0, replayed = 0, purged = 0 }) => words(replayed + purged, checked),
          )
          return replayed + purged
        }
        for (const [index, id] of ids.entries()) {
          run.signal.throwIfAborted()
          run.progress(...words(index, index))
          await callPatiently(ofOne(id), run.signal)
        }
        return ids.length
      } finally {
        after() // Some may have changed when it was stopped, or failed.
      }
    },
    did: (changed) => [`${counted(changed, 'dead letter')} ${changed === 1 ? 'is' : 'are'} ${done}.`],
  })
}
