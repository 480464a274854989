/** The page: which view is shown, who is signed in, and the keys. */
import { askPause, askPost, askRedrive, askRestart, askScale, mayAct } from './actions.js'
import { call, session } from './api.js'
import { deadView } from './dead.js'
import { button, count, fill, h, put } from './dom.js'
import { flowView } from './flow.js'
import { showHealth } from './health.js'
import { live, onLive, start } from './live.js'
import { logView } from './log.js'
import { messageView } from './message.js'
import { idIn } from './text.js'

/** @typedef {{ title: string, nodes: import('./dom.js').Child[], update(): void, close(): void, refresh?: () => void }} View */

const VIEWS = [
  { hash: '#/', name: 'Flow', key: 'f', make: flowView },
  { hash: '#/log', name: 'Log', key: 'l', make: logView },
  { hash: '#/dead', name: 'Dead letters', key: 'd', make: deadView },
  { hash: '#/actions', name: 'Actions', key: 'a', make: actionsView },
]

/** @param {string} id @returns {HTMLElement} */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id))
const main = byId('main')
const find = /** @type {HTMLFormElement} */ (byId('find'))
const what = /** @type {HTMLInputElement} */ (find.elements.namedItem('what'))
/** @type {View | undefined} */
let view
let isListening = false
const deadCount = h('span', { class: 'badge', hidden: true })

/** Shows the view of the address. */
function show() {
  view?.close()
  view = undefined
  document.querySelector('dialog')?.close()
  const [hash, query] = location.hash.split('?', 2)
  const id = idIn(/^#\/messages\/(.*)$/.exec(hash ?? '')?.[1] ?? '')
  const known = VIEWS.find((one) => one.hash === hash) ?? VIEWS[0]
  const { make } = /** @type {(typeof VIEWS)[number]} */ (known)
  const made = id !== undefined ? messageView(id) : make(new URLSearchParams(query))
  view = made
  const title = h('h1', { tabindex: -1 }, made.title)
  fill(main, title, ...made.nodes)
  retitle()
  for (const link of byId('nav').querySelectorAll('a')) {
    if (id === undefined && link.hash === known?.hash) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  made.update()
}

/** The tab's name: the view, and whether something is wrong. */
function retitle() {
  const isWrong = /bad|warn/.test(byId('health').className)
  document.title = `${isWrong ? '! ' : ''}${view?.title ?? 'Sign in'} · Mailroom`
}

/** What the role may do, as a page of its own: each is a call. @returns {View} */
function actionsView() {
  const paused = live.stats?.paused ?? false
  /** @type {[string, string, () => void][]} */
  const actions = [
    ['Post a message', 'Stores one message and delivers it, as any client would.', askPost],
    [
      paused ? 'Resume delivery' : 'Pause delivery',
      paused
        ? 'Messages wait. Deliver them again.'
        : 'Messages wait, posts are taken: for the time of a repair.',
      () => askPause(!(live.stats?.paused ?? false)),
    ],
    ['Scale', 'More or fewer actors of a role, live.', () => askScale()],
    [
      'Restart actors',
      'One by one, without a failed request: reads the handler and the sources anew.',
      () => askRestart(),
    ],
    ['Redrive', 'Puts back what the log or the queue has lost, after a loss of data.', askRedrive],
  ]
  const items = actions.map(([name, does, act]) =>
    h('li', {}, h('div', {}, h('h2', {}, name), h('p', {}, does)), button(`${name}…`, act)),
  )
  return {
    title: 'Actions',
    nodes: mayAct()
      ? [
          h(
            'p',
            { class: 'note' },
            'Each is a call of the API, shown before it is made. Dead letters are replayed ',
            h('a', { href: '#/dead' }, 'where they are'),
            '; a message is delivered again on its own page.',
          ),
          h('ul', { class: 'actions' }, ...items),
        ]
      : [h('p', {}, 'Your token may read, and nothing else.')],
    update() {
      if ((live.stats?.paused ?? false) !== paused && document.querySelector('dialog[open]') === null) show()
    },
    close() {},
  }
}

/** Asks for a token. */
function showSignIn() {
  const wrong = sessionStorage.getItem('over') ?? ''
  sessionStorage.removeItem('over')
  view?.close()
  view = undefined
  fill(byId('nav'))
  find.hidden = true
  const token = h('input', {
    name: 'token',
    type: 'password',
    autocomplete: 'current-password',
    required: true,
  })
  const alert = h('p', { class: 'wrong', role: 'alert' }, wrong)
  const [all, read, post] = ['--token', '--read-token', '--post-token'].map((flag) => h('code', {}, flag))
  const flags = [all, ', ', read, ' or ', post]
  const form = h(
    'form',
    { class: 'sign-in' },
    h('h1', {}, 'Sign in'),
    h('p', {}, 'With a token that Mailroom was started with: ', ...flags, '.'),
    h('label', { class: 'field' }, h('span', {}, 'Token'), token),
    alert,
    h('p', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Sign in')),
  )
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    try {
      await call({ method: 'POST', path: 'session', body: { token: token.value } })
      await begin()
    } catch (error) {
      const problem = /** @type {import('./api.js').Problem} */ (error)
      put(alert, problem.code === 'MR_TOKEN_INVALID' ? 'This is none of its tokens.' : problem.message)
      token.select()
    }
  })
  fill(main, form)
  retitle()
  token.focus()
}

async function signOut() {
  await call({ method: 'DELETE', path: 'session' }).catch(() => undefined)
  location.reload()
}

/** Finds out who is here, and shows what that role may see. */
async function begin() {
  const { role, expiresAt } = await call({ method: 'GET', path: 'session' })
  session.role = role
  session.isSignedIn = expiresAt !== null
  const mayRead = role === 'read' || role === 'all'
  find.hidden = !mayRead
  fill(
    byId('tools'),
    session.isSignedIn && h('span', { class: 'role' }, `may ${role === 'all' ? 'do all' : role}`),
    session.isSignedIn && button('Sign out', signOut),
    button('◐', switchTheme, { 'aria-label': 'Light or dark', title: 'Light or dark (t)' }),
    button('?', showHelp, { 'aria-label': 'Keys', title: 'Keys (?)' }),
  )
  if (role === null) return showSignIn()
  if (!mayRead) {
    fill(byId('nav'))
    return fill(
      main,
      h('h1', {}, 'Post'),
      h('p', {}, 'Your token may post messages, and nothing else.'),
      button('Post a message…', askPost, { class: 'primary' }),
    )
  }
  const links = VIEWS.filter(({ name }) => name !== 'Actions' || mayAct()).map(({ hash, name }) =>
    h('a', { href: hash }, name, ...(name === 'Dead letters' ? [' ', deadCount] : [])),
  )
  fill(byId('nav'), ...links)
  if (!isListening) {
    isListening = true
    onLive(() => {
      showHealth()
      retitle()
      const dead = live.stats?.dead ?? 0
      put(deadCount, count(dead))
      deadCount.hidden = dead === 0
      view?.update()
    })
    start()
  }
  show()
}

function switchTheme() {
  const root = document.documentElement
  const isDark =
    root.dataset['theme'] === undefined
      ? matchMedia('(prefers-color-scheme: dark)').matches
      : root.dataset['theme'] === 'dark'
  root.dataset['theme'] = isDark ? 'light' : 'dark'
  localStorage.setItem('theme', root.dataset['theme'])
  dispatchEvent(new Event('theme'))
}

function showHelp() {
  const keys = [
    ['/', 'find a message'],
    ...VIEWS.map(({ key, name }) => [`g ${key}`, name]),
    ['r', 'read again'],
    ['t', 'light or dark'],
    ['?', 'this help'],
    ['Esc', 'close'],
  ]
  const rows = keys.flatMap(([key, does]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, does)])
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'keys' },
    h(
      'form',
      { method: 'dialog' },
      h('h2', { id: 'keys' }, 'Keys'),
      h('dl', { class: 'keys' }, ...rows),
      h(
        'p',
        { class: 'buttons' },
        button('Close', () => dialog.close()),
      ),
    ),
  )
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

let isGoing = false

/** @param {KeyboardEvent} event */
function onKey(event) {
  const { target, key, ctrlKey, metaKey, altKey } = event
  const isTyping = target instanceof Element && target.matches('input, textarea, select')
  if (
    isTyping ||
    ctrlKey ||
    metaKey ||
    altKey ||
    document.querySelector('dialog[open]') !== null ||
    find.hidden
  )
    return
  const goes = isGoing
    ? VIEWS.find((one) => one.key === key && (one.name !== 'Actions' || mayAct()))
    : undefined
  isGoing = key === 'g'
  if (goes !== undefined) location.hash = goes.hash
  else if (key === '/') what.focus()
  else if (key === '?') showHelp()
  else if (key === 't') switchTheme()
  else if (key === 'r') view?.refresh?.()
  else return
  event.preventDefault()
}

const theme = localStorage.getItem('theme')
if (theme !== null) document.documentElement.dataset['theme'] = theme
find.addEventListener('submit', (event) => {
  event.preventDefault()
  const text = what.value.trim()
  const id = idIn(text)
  if (text === '') return
  what.value = ''
  // What has no id in it may be a part of a text.
  location.hash = id === undefined ? `#/log?${new URLSearchParams({ contains: text })}` : `#/messages/${id}`
})
addEventListener('hashchange', () => {
  if (session.role !== 'read' && session.role !== 'all') return
  show()
  scrollTo(0, 0)
  main.querySelector('h1')?.focus()
})
addEventListener('keydown', onKey)
addEventListener('signed-out', () => {
  if (session.role === null) return
  session.role = null
  // Anew, without what is open for who was here.
  sessionStorage.setItem('over', 'The session is over.')
  location.reload()
})

/** Mailroom may be away when the page is opened from the browser's memory. */
async function beginPatiently() {
  try {
    await begin()
  } catch (error) {
    fill(main, h('p', {}, error instanceof Error ? error.message : '', ' Trying again…'))
    setTimeout(beginPatiently, 2000)
  }
}
void beginPatiently()
