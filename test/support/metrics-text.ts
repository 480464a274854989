/** Reads what `GET /metrics` answers. */

/** Series with its labels, as written -> value. Of both formats. */
export function seriesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end), Number(line.slice(end + 1))]
    }),
  )
}

/** The sum of all series of a metric. */
export function sumOf(text: string, name: string): number {
  let sum = 0
  for (const [series, value] of seriesOf(text)) if (series.split('{')[0] === name) sum += value
  return sum
}
