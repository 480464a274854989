/** The dead letters: their groups, and each of them; replay and purge. */
import { askDead, mayAct } from './actions.js'
import { call } from './api.js'
import { address, button, count, counted, fill, h, instant, keep, put, table } from './dom.js'
import { live } from './live.js'
import { firstLine, visible } from './text.js'

const ROWS = 50
/** While the number of dead letters changes, they are read again so often at most, and less the longer that takes. */
const AGAIN_MS = 3000
const AGAIN_FACTOR = 20

/** @typedef {{ group: string, reason: string, error: string, count: number, example: string, oldestAt: string, newestAt: string }} Group */

/** The view. @param {URLSearchParams} query What it shows: the letters `after` an id. */
export function deadView(query) {
  const groupRows = h('tbody', {})
  const rows = h('tbody', {})
  const sum = h('p', { class: 'note' }, 'Counting…')
  const note = h('p', { class: 'note', role: 'status' })
  /** @type {Set<string>} */
  const chosen = new Set()
  const all = h('div', { class: 'bar' })
  const ofChosen = h('div', { class: 'bar' })
  const first = button('Back to the oldest', () => readLetters(null))
  const newer = button('Newer', () => readLetters(next))
  const turns = h('div', { class: 'buttons', hidden: true }, first, newer)
  const whole = h('input', { type: 'checkbox', 'aria-label': 'Choose all that are shown' })
  whole.addEventListener('change', () => {
    chosen.clear()
    if (whole.checked) for (const id of shownIds) chosen.add(id)
    for (const box of rows.querySelectorAll('input')) box.checked = whole.checked
    showChosen()
  })
  /** @type {string[]} */
  let shownIds = []
  /** @type {string | null} */
  let next = null
  /** @type {string | null} */
  let after = query.get('after')
  let readDead = -1
  let readAt = 0
  let tookMs = 0
  const ending = new AbortController()
  const { signal } = ending

  const again = () => {
    readAt = Date.now()
    readDead = live.stats?.dead ?? -1
    void readGroups().catch(say)
    void readLetters(after)
  }
  /** @param {unknown} error */
  const say = (error) => {
    if (signal.aborted || !(error instanceof Error)) return
    put(note, error.message)
    readDead = Number.NaN // It is read again.
  }

  const readGroups = async () => {
    /** @type {Map<string, Group>} */
    const groups = new Map()
    let many = 0
    /** @type {string | null} */
    let path = 'dead/groups'
    while (path !== null) {
      const page = await call({ method: 'GET', path }, signal)
      for (const group of page.groups) groups.set(group.group, merged(groups.get(group.group), group))
      many += page.counted
      path = page.next
      showGroups([...groups.values()], many)
    }
    tookMs = Date.now() - readAt
  }

  /** @param {Group[]} groups @param {number} many */
  const showGroups = (groups, many) => {
    const sorted = groups.sort((a, b) => b.count - a.count).slice(0, 100)
    keep(
      groupRows,
      sorted,
      ({ group }) => group,
      (group) => groupRowOf(group, again),
    )
    put(
      sum,
      many === 0
        ? 'There are no dead letters.'
        : `${counted(many, 'dead letter')} in ${counted(groups.length, 'group')}.`,
    )
    const which = { many, what: many === 1 ? 'the dead letter' : `all ${count(many)} dead letters` }
    fill(
      all,
      many > 0 && h('h2', {}, 'By reason'),
      mayAct() && many > 0 && button('Replay all…', () => askDead('replay', which, again)),
      mayAct() && many > 0 && button('Purge all…', () => askDead('purge', which, again)),
    )
  }

  /** @param {string | null} from */
  const readLetters = async (from) => {
    try {
      const query = from === null ? '' : `&after=${from}`
      const page = await call({ method: 'GET', path: `dead?limit=${ROWS}${query}` }, signal)
      after = from
      address('dead', { after })
      next = page.next === null ? null : (page.items.at(-1)?.id ?? null)
      shownIds = page.items.map((/** @type {any} */ { id }) => id)
      for (const id of chosen) if (!shownIds.includes(id)) chosen.delete(id)
      keep(
        rows,
        page.items,
        ({ id }) => id,
        (letter) => letterRowOf(letter, chosen, showChosen),
      )
      first.disabled = after === null
      newer.disabled = next === null
      turns.hidden = first.disabled && newer.disabled
      put(note, page.items.length === 0 ? 'Messages that fail for good come here, and wait for you.' : '')
      showChosen()
    } catch (error) {
      say(error)
    }
  }

  const showChosen = () => {
    const ids = [...chosen]
    whole.checked = ids.length > 0 && ids.length === shownIds.length
    whole.indeterminate = ids.length > 0 && !whole.checked
    const which = {
      ids,
      many: ids.length,
      what: ids.length === 1 ? 'the chosen one' : `the ${ids.length} chosen`,
    }
    const done = () => {
      chosen.clear()
      again()
    }
    fill(
      ofChosen,
      rows.childElementCount > 0 && h('h2', {}, 'One by one'),
      mayAct() &&
        ids.length > 0 &&
        button(`Replay ${ids.length} chosen…`, () => askDead('replay', which, done)),
      mayAct() &&
        ids.length > 0 &&
        button(`Purge ${ids.length} chosen…`, () => askDead('purge', which, done)),
    )
  }

  showChosen()
  again()
  const groupHeads = ['Count', 'Reason', 'Error', 'First', 'Last', ...(mayAct() ? [hiddenHead('Do')] : [])]
  const heads = [...(mayAct() ? [whole] : []), 'Dead since', 'Id', 'Attempts', 'Reason', 'Last error']
  return {
    title: 'Dead letters',
    nodes: [
      all,
      sum,
      table('Groups of dead letters', groupHeads, groupRows),
      ofChosen,
      table('Dead letters', heads, rows),
      note,
      turns,
    ],
    update() {
      const dead = live.stats?.dead ?? -1
      if (
        dead !== readDead &&
        Date.now() - readAt > Math.max(AGAIN_MS, AGAIN_FACTOR * tookMs) &&
        document.querySelector('dialog[open]') === null
      )
        again()
    },
    close: () => ending.abort(),
    refresh: again,
  }
}

/** @param {string} name */
function hiddenHead(name) {
  return h('span', { class: 'skip' }, name)
}

/** @param {Group | undefined} one @param {Group} other @returns {Group} */
function merged(one, other) {
  if (one === undefined) return other
  return {
    ...one,
    count: one.count + other.count,
    oldestAt: [one.oldestAt, other.oldestAt].sort()[0] ?? '',
    newestAt: [one.newestAt, other.newestAt].sort()[1] ?? '',
  }
}

/** @param {Group} group @param {() => void} again */
function groupRowOf({ group, reason, error, example }, again) {
  const number = h('td', { class: 'number' })
  const [oldest, newest] = [h('td', { class: 'time' }), h('td', { class: 'time' })]
  let many = 0
  /** @param {'replay' | 'purge'} change */
  const act = (change) =>
    askDead(
      change,
      { query: `&group=${encodeURIComponent(group)}`, many, what: `the group of ${count(many)}` },
      again,
    )
  return {
    node: h(
      'tr',
      {},
      number,
      h('td', { class: 'reason' }, ...visible(reason)),
      h('td', { class: 'text' }, h('a', { href: `#/messages/${example}` }, ...visible(firstLine(error)))),
      oldest,
      newest,
      mayAct() &&
        h(
          'td',
          { class: 'buttons' },
          button('Replay…', () => act('replay')),
          button('Purge…', () => act('purge')),
        ),
    ),
    /** @param {Group} now */
    update(now) {
      many = now.count
      put(number, count(now.count))
      fill(oldest, instant(now.oldestAt))
      fill(newest, instant(now.newestAt))
    },
  }
}

/** @param {any} letter @param {Set<string>} chosen @param {() => void} changed */
function letterRowOf({ id, deadAt, attempts, reason, lastError }, chosen, changed) {
  const box = h('input', { type: 'checkbox', 'aria-label': `Choose ${id}` })
  box.addEventListener('change', () => {
    if (box.checked) chosen.add(id)
    else chosen.delete(id)
    changed()
  })
  return {
    node: h(
      'tr',
      {},
      mayAct() && h('td', {}, box),
      h('td', { class: 'time' }, instant(deadAt)),
      h('td', { class: 'id' }, h('a', { href: `#/messages/${id}` }, id)),
      h('td', { class: 'number' }, count(attempts)),
      h('td', { class: 'reason' }, ...visible(reason)),
      h('td', { class: 'text' }, ...visible(firstLine(lastError))),
    ),
    update() {
      box.checked = chosen.has(id)
    },
  }
}
