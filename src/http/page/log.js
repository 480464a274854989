/** The log, newest first: a page of it at a time, however long it is. */
import { call } from './api.js'
import { address, button, bytes, clock, fill, h, instant, keep, put, table } from './dom.js'
import { live } from './live.js'
import { firstLine, idAt, visible } from './text.js'

const ROWS = 50
/** When more comes than a page, nobody can read along: it is read again so often at most. */
const BUSY_MS = 10_000
const BUSY_NOTE = `Much comes: what is newest is shown every ${BUSY_MS / 1000} s.`
/** Characters of each message that are read. */
const PREVIEW = 200

/** The view. @param {URLSearchParams} query What it shows: `contains`, `source`, `until`, `before`. */
export function logView(query) {
  const from = query.get('before')
  const plain = { autocomplete: 'off', spellcheck: 'false' }
  /** @param {string} name @param {Record<string, any>} props */
  const input = (name, props) => h('input', { name, value: query.get(name), ...props })
  const source = input('source', { ...plain, placeholder: 'any' })
  const contains = input('contains', { ...plain, type: 'search' })
  const until = input('until', { type: 'datetime-local', step: 1 })
  const follow = h('input', { type: 'checkbox', checked: from === null && until.value === '' })
  const rows = h('tbody', {})
  const note = h('p', { class: 'note', role: 'status' })
  const newer = button('Newer', () => go(back.pop() ?? null))
  const older = button('Older', () => {
    back.push(before)
    void go(next)
  })
  const turns = h('div', { class: 'buttons', hidden: true }, newer, older)
  /** Where the page begins, and those before it began; null: at the newest. @type {string | null} */
  let before = null
  /** @type {(string | null)[]} */
  let back = []
  /** @type {string | null} */
  let next = null
  let ending = new AbortController()
  let isReading = false
  let readAccepted = -1
  let readAt = 0
  let isBusy = false

  /** @param {string | null} from */
  const pathFrom = (from) => {
    const query = new URLSearchParams({ limit: String(ROWS), text: String(PREVIEW) })
    if (from !== null) query.set('before', from)
    if (source.value.trim() !== '') query.set('source', source.value.trim())
    if (contains.value !== '') query.set('contains', contains.value)
    return `log?${query}`
  }

  const remember = () =>
    address('log', { contains: contains.value, source: source.value.trim(), until: until.value, before })

  /** Reads the page that begins before an id. A search goes on until the page is full. @param {string | null} from */
  const go = async (from, isFollowing = false) => {
    ending.abort()
    ending = new AbortController()
    const { signal } = ending
    if (!isFollowing) {
      before = from
      remember()
    }
    isReading = true
    /** @type {any[]} */
    const items = []
    /** @type {string | null} */
    let path = pathFrom(from)
    try {
      while (path !== null && items.length < ROWS) {
        const page = await call({ method: 'GET', path }, signal)
        items.push(...page.items)
        next = cursorIn(page.next)
        path = isFollowing && items.length > 0 ? null : page.next
        if (!isFollowing || items.length > 0 || path === null) show(items)
        if (path !== null && items.length < ROWS && !isFollowing) {
          fill(
            note,
            `Looked back to ${next === null ? '' : clock(timeOf(next))}… `,
            button('Stop', () => ending.abort()),
          )
        }
      }
      put(note, items.length === 0 ? emptyNote() : isBusy ? BUSY_NOTE : '')
    } catch (error) {
      if (error instanceof Error && !signal.aborted) {
        put(note, error.message)
        readAccepted = -1 // It is read again.
      } else if (ending.signal === signal) put(note, items.length > 0 ? '' : 'Stopped.')
    } finally {
      if (ending.signal === signal) isReading = false
    }
  }

  /** @param {any[]} items */
  const show = (items) => {
    keep(rows, items.slice(0, ROWS), ({ id }) => id, rowOf)
    const last = items[ROWS - 1]?.id
    if (last !== undefined) next = last
    newer.disabled = before === null && back.length === 0
    older.disabled = next === null
    turns.hidden = newer.disabled && older.disabled
  }

  const emptyNote = () =>
    source.value === '' && contains.value === '' && before === null
      ? 'The log is empty. Post a message, or point a webhook at /in/{source}.'
      : 'Nothing like that is in this part of the log.'

  const again = () => {
    back = []
    const time = until.value === '' ? null : idAt(new Date(until.value).getTime() + 1)
    if (time !== null) follow.checked = false
    void go(time)
  }
  const form = h(
    'form',
    { class: 'filters', 'aria-label': 'Filter' },
    h('label', { class: 'field' }, h('span', {}, 'Contains'), contains),
    h('label', { class: 'field' }, h('span', {}, 'Source'), source),
    h('label', { class: 'field' }, h('span', {}, 'Up to the time'), until),
    h('label', { class: 'check' }, follow, ' Follow'),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    again()
  })
  for (const input of [source, contains, until]) input.addEventListener('change', again)
  follow.addEventListener('change', () => {
    if (!follow.checked) return
    until.value = ''
    again()
  })
  if (from === null) again()
  else void go(from)
  return {
    title: 'Log',
    nodes: [form, table('The log', ['Stored', 'Id', 'Source', 'Text', 'Size'], rows), note, turns],
    update() {
      const accepted = live.stats?.accepted ?? -1
      if (!follow.checked || before !== null || back.length > 0 || isReading || accepted === readAccepted)
        return
      // Many at once after a quiet time are shown at once.
      const isMore = accepted - readAccepted > ROWS
      if (isMore && Date.now() - readAt < BUSY_MS) return
      isBusy = isMore && readAt > 0 && Date.now() - readAt < 2 * BUSY_MS
      readAccepted = accepted
      readAt = Date.now()
      void go(null, true)
    },
    close: () => ending.abort(),
    refresh: again,
  }
}

/** @param {any} item */
function rowOf({ id, at, source = '', text, base64, bytes: size }) {
  const body = text === undefined ? `${base64} (base64)` : firstLine(text)
  return {
    node: h(
      'tr',
      {},
      h('td', { class: 'time' }, instant(at)),
      h('td', { class: 'id' }, h('a', { href: `#/messages/${id}` }, id)),
      h('td', {}, source),
      h('td', { class: 'text' }, ...visible(body)),
      h('td', { class: 'number' }, bytes(size ?? new Blob([text ?? base64]).size)),
    ),
  }
}

/** @param {string | null} path */
function cursorIn(path) {
  return path === null ? null : new URLSearchParams(path.split('?')[1]).get('before')
}

/** The time of an id, ms since 1970. @param {string} id */
function timeOf(id) {
  return [...id.slice(0, 10)].reduce(
    (time, digit) => time * 32 + '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(digit),
    0,
  )
}
