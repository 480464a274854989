/** The page's elements. Whatever comes from a message becomes text, never markup: there is no other way to make one. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Makes an element. `props`: attributes; `onclick` and the like: listeners; `true`: an attribute without a value;
 * `false` and undefined: none.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false || value === null) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? '' : String(value))
  }
  node.append(...present(children))
  return node
}

/** The children that are there. @param {Child[]} children @returns {(Node | string)[]} */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.filter((child) => child || child === ''))
}

/** Gives a node these children in place of those it has. @param {Element} node @param {...Child} children */
export function fill(node, ...children) {
  node.replaceChildren(...present(children))
}

/** Changes a text only when it is another, so that a selection stays. @param {Element} node @param {string} text */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * Keeps one element for each item, in the order of the items. An element stays the same as long as its item's key does,
 * so focus and selection survive.
 *
 * @template T
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => { node: Element, update?: (item: T) => void }} make
 */
export function keep(parent, items, keyOf, make) {
  const known = kept.get(parent) ?? new Map()
  const now = new Map()
  for (const item of items) {
    const key = keyOf(item)
    const row = known.get(key) ?? make(item)
    row.update?.(item)
    now.set(key, row)
  }
  for (const [key, { node }] of known) if (!now.has(key)) node.remove()
  let place = parent.firstElementChild
  for (const { node } of now.values()) {
    if (node === place) place = node.nextElementSibling
    else parent.insertBefore(node, place)
  }
  kept.set(parent, now)
}

/** @type {WeakMap<Element, Map<string, any>>} */
const kept = new WeakMap()

/** A button. @param {string} name @param {(event: MouseEvent) => void} onclick @param {Record<string, any>} [props] */
export function button(name, onclick, props = {}) {
  return h('button', { type: 'button', onclick, ...props }, name)
}

/** Heads of columns of numbers. @type {ReadonlySet<string | Node>} */
const NUMBERS = new Set([
  'PID',
  'Restarts',
  'Mailbox',
  'Handled',
  'Mean time',
  'Waiting',
  'Oldest',
  'Dead',
  'Count',
  'Size',
  'Attempts',
])

/**
 * A table in a box of its own that can be scrolled sideways, also with the keyboard.
 *
 * @param {string} name
 * @param {(string | Node)[]} heads @param {Element[]} bodies
 */
export function table(name, heads, ...bodies) {
  const head = heads.map((one) => h('th', { scope: 'col', class: NUMBERS.has(one) && 'number' }, one))
  return h(
    'div',
    { class: 'scroll', role: 'region', 'aria-label': name, tabindex: 0 },
    h('table', {}, h('thead', {}, h('tr', {}, ...head)), ...bodies),
  )
}

/** Keeps in the address what a view shows, so that a link and the way back lead there. @param {string} view @param {Record<string, string | null>} query */
export function address(view, query) {
  const given = Object.entries(query).filter(([, value]) => value)
  const words = new URLSearchParams(/** @type {[string, string][]} */ (given))
  history.replaceState(null, '', `#/${view}${given.length > 0 ? `?${words}` : ''}`)
}

/** An instant, shown in this machine's time. @param {string | number} at */
export function instant(at) {
  const iso = new Date(at).toISOString()
  return h('time', { datetime: iso, title: iso }, clock(at))
}

/** 14:03:09, with the day unless it is today. @param {string | number} at */
export function clock(at) {
  const date = new Date(at)
  const time = date.toLocaleTimeString('en-GB')
  if (date.toDateString() === new Date().toDateString()) return time
  return `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })}, ${time}`
}

/** 1,234, or 1.2M. @param {number} value */
export function count(value) {
  return value < 1e6
    ? Math.round(value).toLocaleString('en')
    : value.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 2 })
}

/** `1 message`, `2 messages`. @param {number} value @param {string} one */
export function counted(value, one) {
  return `${count(value)} ${one}${value === 1 ? '' : 's'}`
}

/** A rate. @param {number | undefined} value Of one second. */
export function rate(value) {
  if (value === undefined) return '–'
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(value)}/s`
}

/** A duration: 0.8 ms, 3.2 s, 4 min, 2 h, 3 d. @param {number | undefined} seconds */
export function duration(seconds) {
  if (seconds === undefined) return '–'
  if (seconds === 0) return '0 s'
  if (seconds < 1) {
    const ms = seconds * 1000
    return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`
  }
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

/** 1.5 GB. @param {number} value */
export function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let at = 0
  for (; value >= 999.5 && at < units.length - 1; at++) value /= 1000
  return `${at === 0 || value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ${units[at]}`
}
