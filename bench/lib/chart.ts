/** Bar charts as SVG, readable on light and dark pages. */
import { shown } from './figures.ts'
import type { Chart } from './results.ts'

const WIDTH = 720
const LABEL = 190
const VALUE = 80
const ROW = 26
const BAR = 18
const TOP = 34
const STYLE = `
  text { font: 13px sans-serif; fill: #1f2328 }
  .title { font-weight: bold }
  .bar { fill: #8c959f }
  .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }
`

/** One horizontal bar a value, as long as its share of the largest; those of Mailroom are coloured. */
export function barChart({ title, bars }: Chart): string {
  const most = Math.max(...bars.map(({ value }) => value))
  const height = TOP + bars.length * ROW + 6
  const rows = bars.map(({ label, value }, index) => {
    const y = TOP + index * ROW
    const width = Math.max(1, Math.round((value / most) * (WIDTH - LABEL - VALUE)))
    const digits = most < 10 ? 2 : 0
    return [
      `  <text x="${LABEL - 8}" y="${y + 14}" text-anchor="end">${escaped(label)}</text>`,
      `  <rect class="${label.startsWith('Mailroom') ? 'ours' : 'bar'}" x="${LABEL}" y="${y}" width="${width}" height="${BAR}" rx="2"/>`,
      `  <text x="${LABEL + width + 6}" y="${y + 14}">${shown(value, digits)}</text>`,
    ].join('\n')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
    `  <title>${escaped(title)}</title>`,
    `  <style>${STYLE}</style>`,
    `  <text class="title" x="8" y="18">${escaped(title)}</text>`,
    ...rows,
    '</svg>\n',
  ].join('\n')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
