/** The way of a message through the system, every actor, and the last 15 minutes. */
import { askRestart, askScale, mayAct } from './actions.js'
import { charts as chartsOf } from './charts.js'
import { button, bytes, count, counted, duration, h, keep, put, rate, table } from './dom.js'
import { live, quantileOf, rateOf } from './live.js'

/** @typedef {import('../../runtime/stats.ts').Stats} Stats */
/** @typedef {import('../../runtime/stats.ts').ActorStats} ActorStats */

/** As the figures name a handler; everything else is a URL. */
const HANDLER = 'the handler'
const ROLES = /** @type {const} */ (['facade', 'logging', 'messages'])

/**
 * The stages, in order. `arrow`: what comes in per second. `figure` with its `unit` is what counts most there.
 *
 * @type {{ name: string, nameNow?: (stats: Stats) => string, arrow?: (stats: Stats) => number, figure: (stats: Stats) => [string, string], notes: (stats: Stats) => string[], state?: (stats: Stats) => string }[]}
 */
const STAGES = [
  {
    name: 'Clients, sources',
    figure: ({ accepted }) => [count(accepted), 'accepted'],
    notes: ({ refused, replayed }) => [`${count(refused)} refused`, `${count(replayed)} repeats`],
  },
  {
    name: 'Facade',
    arrow: ({ accepted }) => accepted,
    figure: () => [duration(quantileOf(0.99, ({ accept }) => accept)), 'p99 to store'],
    notes: (stats) => [`p50 ${duration(quantileOf(0.5, ({ accept }) => accept))}`, readyOf('facade', stats)],
    state: (stats) => stateOf('facade', stats),
  },
  {
    name: 'Logging',
    arrow: ({ accepted }) => accepted,
    figure: (stats) => [count(sumOf('logging', stats, ({ mailbox }) => mailbox.depth)), 'in mailboxes'],
    notes: (stats) => [readyOf('logging', stats)],
    state: (stats) => stateOf('logging', stats),
  },
  {
    name: 'Log',
    arrow: ({ accepted }) => accepted,
    figure: ({ disks }) => [bytes(disks.reduce((sum, { dataBytes }) => sum + dataBytes, 0)), 'on disk'],
    notes: ({ disks }) =>
      disks.length === 0
        ? []
        : [
            `${bytes(Math.min(...disks.map(({ freeBytes }) => freeBytes)))} free${disks.length > 1 ? ' at least' : ''}`,
          ],
  },
  {
    name: 'Lanes',
    arrow: ({ accepted }) => accepted,
    figure: ({ waiting }) => [count(waiting), 'waiting'],
    notes: ({ waiting, oldestWaitingSeconds, retrying }) => [
      waiting === 0 ? 'nothing waits' : `oldest ${duration(oldestWaitingSeconds)}`,
      retrying === 0 ? '' : `${count(retrying)} to be retried`,
    ],
    state: ({ paused, oldestWaitingSeconds }) => (paused || oldestWaitingSeconds > 60 ? 'warn' : ''),
  },
  {
    name: 'Messages',
    arrow: ({ delivered, died }) => delivered + died,
    figure: () => [duration(quantileOf(0.99, ({ delivery }) => delivery)), 'p99 to deliver'],
    notes: (stats) => [
      `p50 ${duration(quantileOf(0.5, ({ delivery }) => delivery))}`,
      `${count(stats.inHand)} in hand`,
      readyOf('messages', stats),
    ],
    state: (stats) => stateOf('messages', stats),
  },
  {
    name: 'Handler or URL',
    nameNow: ({ targets: [target] }) =>
      target === undefined ? 'Delivered' : target === HANDLER ? 'Handler' : 'URL',
    arrow: ({ attempts }) => attempts,
    figure: ({ delivered }) => [count(delivered), 'delivered'],
    notes: ({ dead, attempts, outages, targets }) =>
      [
        targets.length === 0
          ? 'stored only: no handler, no URL'
          : targets.map((target) => URL.parse(target)?.host ?? '').join(' '),
        outages.length > 0 ? 'away' : targets.length > 0 ? counted(attempts, 'attempt') : '',
        `${count(dead)} dead`,
      ].filter((note) => note !== ''),
    state: ({ outages }) => (outages.length > 0 ? 'bad' : ''),
  },
]

/** @param {string} role @param {Stats} stats */
function ofRole(role, { actors }) {
  return actors.filter((actor) => actor.role === role)
}

/** @param {string} role @param {Stats} stats @param {(actor: ActorStats) => number} pick */
function sumOf(role, stats, pick) {
  return ofRole(role, stats).reduce((sum, actor) => sum + pick(actor), 0)
}

/** @param {string} role @param {Stats} stats */
function readyOf(role, stats) {
  const actors = ofRole(role, stats)
  return `${actors.filter(({ state }) => state === 'ready').length} of ${actors.length} ready`
}

/** @param {string} role @param {Stats} stats */
function stateOf(role, stats) {
  const actors = ofRole(role, stats)
  if (!actors.some(({ state }) => state === 'ready')) return 'bad'
  return actors.every(({ state }) => state === 'ready') ? '' : 'warn'
}

/** The view. @returns {{ title: string, nodes: Node[], update(): void, close(): void }} */
export function flowView() {
  const stages = STAGES.map((stage) => stageOf(stage))
  const bodies = ROLES.map((role) => h('tbody', { 'data-role': role }))
  const heads = [
    'Actor',
    'State',
    'PID',
    'Restarts',
    'Mailbox',
    'Handled',
    'Mean time',
    'Waiting',
    'Oldest',
    'Dead',
  ]
  const charts = chartsOf()
  return {
    title: 'Flow',
    nodes: [
      h('ol', { class: 'flow' }, ...stages.map(({ node }) => node)),
      h(
        'div',
        { class: 'bar' },
        h('h2', {}, 'Actors'),
        mayAct() && button('Scale…', () => askScale('messages', countOf('messages'))),
        mayAct() && button('Restart…', () => askRestart()),
      ),
      table('Actors', heads, ...bodies),
      h('div', { class: 'bar' }, h('h2', {}, 'The last 15 minutes')),
      charts.node,
    ],
    update() {
      const { stats } = live
      if (stats === undefined) return
      for (const { update } of stages) update(stats)
      for (const [index, role] of ROLES.entries()) {
        keep(/** @type {Element} */ (bodies[index]), ofRole(role, stats), ({ name }) => name, rowOf)
      }
      charts.update()
    },
    close: charts.close,
  }
}

/** @param {string} role */
function countOf(role) {
  return live.stats === undefined ? 2 : ofRole(role, live.stats).length
}

/** @param {(typeof STAGES)[number]} stage */
function stageOf({ name, nameNow, arrow, figure, notes, state }) {
  const title = h('h2', {}, name)
  const into = h('span', { class: 'arrow' })
  const value = h('strong', {}, '–')
  const unit = h('span', { class: 'unit' })
  const lines = [0, 1, 2].map(() => h('span', { class: 'note' }))
  const node = h(
    'li',
    {},
    arrow && into,
    h('div', { class: 'stage' }, title, h('p', { class: 'figure' }, value, unit), ...lines),
  )
  return {
    node,
    /** @param {Stats} stats */
    update(stats) {
      const [much, of] = figure(stats)
      if (nameNow) put(title, nameNow(stats))
      put(value, much)
      put(unit, of)
      const said = notes(stats)
      for (const [index, line] of lines.entries()) put(line, said[index] ?? '')
      const perSecond = arrow && rateOf(arrow)
      put(into, rate(perSecond))
      node.dataset['state'] = state?.(stats) ?? ''
      node.dataset['flows'] = String((perSecond ?? 0) > 0)
    },
  }
}

/** @param {ActorStats} actor */
function rowOf({ name, role }) {
  const cells = [...Array(9)].map(() => h('td', { class: 'number' }))
  const [state, ...numbers] = cells
  state?.setAttribute('class', 'state')
  return {
    node: h('tr', {}, h('th', { scope: 'row' }, name), ...cells),
    /** @param {ActorStats} actor */
    update({ state: is, pid, restarts, mailbox, waiting, oldestWaitingSeconds, dead }) {
      if (state !== undefined) {
        put(state, is)
        state.dataset['state'] = is
      }
      /** @param {Stats} stats */
      const own = ({ actors }) => actors.find((actor) => actor.name === name)
      const handled = rateOf((stats) => own(stats)?.handled)
      const calls = rateOf((stats) => own(stats)?.took?.count ?? 0)
      const seconds = rateOf((stats) => own(stats)?.took?.sumSeconds ?? 0)
      const isMessages = role === 'messages'
      const texts = [
        pid === 0 ? '–' : String(pid),
        count(restarts),
        `${count(mailbox.depth)}${mailbox.refused > 0 ? ` (${count(mailbox.refused)} refused)` : ''}`,
        rate(handled),
        calls && seconds !== undefined ? duration(seconds / calls) : '–',
        isMessages ? count(waiting ?? 0) : '',
        isMessages ? duration(oldestWaitingSeconds) : '',
        isMessages ? count(dead ?? 0) : '',
      ]
      for (const [index, cell] of numbers.entries()) put(cell, texts[index] ?? '')
    },
  }
}
