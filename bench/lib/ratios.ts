/** One system beside others, as ratios: they say more than figures, which depend on the machine. */
import { median, shown } from './figures.ts'

/** One load of one system in one round. */
export interface Figure {
  name: string
  round: number
  connections: number
  /** Posts answered 201 a second: more is better. */
  perSecond: number
  /** CPU microseconds a message: less is better. */
  cpuUs: number
}

/** A system that ours is compared with. */
export interface Other {
  name: string
  title: string
  /** False: it stores nothing, so nobody loses to it. */
  stores: boolean
}

/** The tables' columns. */
const KINDS = [
  { what: 'perSecond', heading: '201 a second', isLoss: (ratio: number) => ratio < 1 },
  { what: 'cpuUs', heading: 'CPU a message', isLoss: (ratio: number) => ratio > 1 },
] as const

/**
 * Ratios of `ours` to each of the others at each number of connections: medians of the ratios of each round. The caption
 * says to whom ours loses, and at what.
 */
export function ratioTable(
  ours: string,
  title: string,
  others: readonly Other[],
  figures: readonly Figure[],
): { caption: string; rows: string[][] } {
  const ourFigures = figures.filter(({ name }) => name === ours)
  const counts = [...new Set(ourFigures.map(({ connections }) => connections))]
  const columns = KINDS.flatMap((kind) => counts.map((connections) => ({ ...kind, connections })))
  const theirs = (other: Other, { round, connections }: Figure) =>
    figures.find((one) => one.name === other.name && one.round === round && one.connections === connections)!
  const losses: string[] = []
  const rows = others.map((other) => {
    const ratios = columns.map(({ what, connections }) =>
      median(
        ourFigures
          .filter((figure) => figure.connections === connections)
          .map((figure) => figure[what] / theirs(other, figure)[what]),
      ),
    )
    const lost = columns.filter(({ isLoss }, index) => isLoss(ratios[index]!))
    if (other.stores && lost.length > 0) losses.push(`${other.title} (${lost.map(headingOf).join('; ')})`)
    return [`${title} / ${other.title}`, ...ratios.map((ratio) => shown(ratio, 2))]
  })
  const caption = `Medians of the ratios of each round. More 201 a second is better, less CPU a message is better.
${title} loses to: ${losses.length > 0 ? losses.join(', ') : 'none that stores messages'}.`
  return { caption, rows: [['', ...columns.map(headingOf)], ...rows] }
}

function headingOf({ heading, connections }: { heading: string; connections: number }): string {
  return `${heading}, ${shownConnections(connections)}`
}

export function shownConnections(connections: number): string {
  return connections === 1 ? '1 connection' : `${connections} connections`
}
