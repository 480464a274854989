/** The last 15 minutes, a point a second: what Mailroom remembers, and what has come since. */
import { call } from './api.js'
import { count, duration, h, rate } from './dom.js'
import { live, pointNow } from './live.js'

/** @typedef {import('./live.js').Point} Point */

/** It is a script of its own, which the page loads. @type {typeof import('uplot')} */
const UPlot = /** @type {any} */ (globalThis).uPlot
const WHOLE = [1, 2, 5, 10, 20, 50, 1e2, 2e2, 5e2, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6]
const SPAN_S = 900
/** After a start the time is as long as there is something to show, and at least so long. */
const LEAST_S = 120
const HEIGHT_PX = 150

/** @type {{ name: string, format: (value: number) => string, series: { name: string, color: string, key: Exclude<keyof Point, 'at'> }[] }[]} */
const CHARTS = [
  {
    name: 'Messages per second',
    format: rate,
    series: [
      { name: 'accepted', color: '--accent', key: 'accepted' },
      { name: 'delivered', color: '--good', key: 'delivered' },
    ],
  },
  {
    name: 'Messages that wait',
    format: count,
    series: [{ name: 'waiting', color: '--accent', key: 'waiting' }],
  },
  {
    name: '99 of 100 took at most',
    format: duration,
    series: [
      { name: 'to store', color: '--accent', key: 'acceptP99' },
      { name: 'to deliver', color: '--good', key: 'deliveryP99' },
    ],
  },
  {
    name: 'Refused, dead per second',
    format: rate,
    series: [
      { name: 'refused', color: '--warn', key: 'refused' },
      { name: 'dead', color: '--bad', key: 'died' },
    ],
  },
]

/** All charts as one element. */
export function charts() {
  /** @type {Point[]} */
  let points = []
  const ending = new AbortController()
  const plots = CHARTS.map(plotOf)
  const node = h('div', { class: 'charts' }, ...plots.map((plot) => plot.node))
  const draw = () => {
    for (const plot of plots) plot.draw(points)
  }
  const redraw = () => {
    for (const plot of plots) plot.renew()
    draw()
  }
  const sizes = new ResizeObserver(redraw)
  sizes.observe(node)
  addEventListener('theme', redraw)
  const read = () =>
    call({ method: 'GET', path: 'history' }, ending.signal).then(
      (history) => {
        points = history.points
        draw()
      },
      () => undefined, // The charts begin now.
    )
  void read()
  return {
    node,
    update() {
      const point = pointNow()
      if (live.isLost || point === undefined || point.at <= (points.at(-1)?.at ?? 0)) return
      // What came while this tab was hidden, or the connection lost, is known to Mailroom.
      if (points.length > 0 && point.at - (points.at(-1)?.at ?? 0) > 5000) void read()
      points.push(point)
      while (points.length > SPAN_S) points.shift()
      draw()
    },
    close() {
      ending.abort()
      sizes.disconnect()
      removeEventListener('theme', redraw)
      for (const plot of plots) plot.close()
    },
  }
}

/** @param {import('uplot')} of @param {number} series */
function isAlone(of, series) {
  return [...(of.data[series] ?? [])].filter((value) => value != null).length === 1
}

/** @param {(typeof CHARTS)[number]} chart */
function plotOf({ name, format, series }) {
  const values = series.map(() => h('b', {}, '–'))
  const legend = series.map((one, index) =>
    h('span', { class: 'key', 'data-color': one.color }, `${one.name} `, values[index]),
  )
  const place = h('div', { class: 'plot', role: 'img', 'aria-label': name })
  const node = h('figure', {}, h('figcaption', {}, h('span', {}, name), ...legend), place)
  /** @type {import('uplot') | undefined} */
  let plot
  const make = () => {
    const style = getComputedStyle(document.documentElement)
    const color = (/** @type {string} */ variable) => colorOf(style.getPropertyValue(variable))
    const axis = {
      ...{ stroke: color('--muted'), font: `11px ${style.fontFamily}`, ticks: { show: false } },
      grid: { stroke: color('--line'), width: 1 },
    }
    return new UPlot(
      {
        ...{ width: Math.max(200, place.clientWidth), height: HEIGHT_PX, legend: { show: false } },
        cursor: { sync: { key: 'mailroom' }, y: false, drag: { x: false, y: false } },
        // Nothing is 0, not a line in the middle.
        scales: { y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
        series: [
          {},
          ...series.map((one) => ({
            stroke: color(one.color),
            width: 1.5,
            // One value alone is no line.
            points: { show: isAlone },
            spanGaps: true,
          })),
        ],
        axes: [
          {
            ...axis,
            size: 26,
            space: 70,
            values: (_, times, _axis, _space, apart) => times.map((time) => timeOf(time, apart)),
          },
          {
            ...axis,
            size: 58,
            space: 34,
            ...(format === count && { incrs: WHOLE }),
            values: (_, all) => all.map(format),
          },
        ],
        hooks: {
          setCursor: [(of) => showValues(of.cursor.idx ?? undefined)],
        },
      },
      /** @type {any} */ (data),
      place,
    )
  }
  /** @type {(number | null)[][]} */
  let data = [[], ...series.map(() => [])]
  /** @param {number | undefined} index Undefined: the last one. */
  const showValues = (index) => {
    for (const [at, value] of values.entries()) {
      const one = data[at + 1]?.at(index ?? -1)
      value.textContent = one == null ? '–' : format(one)
    }
  }
  return {
    node,
    /** @param {readonly Point[]} points */
    draw(points) {
      data = [
        points.map(({ at }) => at / 1000),
        ...series.map(({ key }) => points.map((point) => point[key])),
      ]
      plot ??= make()
      plot.setData(/** @type {any} */ (data), false)
      const now = data[0]?.at(-1) ?? Date.now() / 1000
      const first = data[0]?.[0] ?? now
      plot.setScale('x', { min: Math.max(now - SPAN_S, Math.min(first, now - LEAST_S)), max: now })
      if (plot.cursor.idx == null) showValues(undefined)
    },
    renew() {
      plot?.destroy()
      plot = undefined
    },
    close() {
      plot?.destroy()
    },
  }
}

/** A canvas knows no `light-dark()`. @param {string} value */
function colorOf(value) {
  const probe = h('i', {})
  probe.style.color = value
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

/** @param {number} seconds @param {number} apart From one label to the next, in seconds. */
function timeOf(seconds, apart) {
  return new Date(seconds * 1000).toLocaleTimeString('en-GB').slice(0, apart < 60 ? 8 : 5)
}
