/**
 * What is known of the two Hazelcast clusters, and what they lost (docs/decisions/0050-a-loss-is-told.md). A cluster
 * keeps nothing on disk: only somebody else can know what it held. All of this is JSON: it crosses IPC, is kept in
 * `--data`, and stands in the clusters themselves.
 */

/** What a cluster is for. */
export type Store = 'log' | 'queue'

/** A cluster that is gone, with all it held. */
export interface Loss {
  store: Store
  /** Of the cluster that is gone: the random name it was begun with. */
  epoch: string
  /** `empty`: it came back empty. `other`: the nodes were given another cluster, which was in use before. */
  kind: 'empty' | 'other'
  /** Ms since 1970: when it was seen last, and when it was found to be gone. */
  lastSeenAt: number
  noticedAt: number
  /** About how many messages it held when it was seen last. */
  count: number
  /** An operator has seen it: it is not reported any more. */
  isConfirmed: boolean
}

/** A cluster as it was seen last. */
export interface SeenCluster {
  store: Store
  epoch: string
  /** The name in `--hazelcast-logging` or `--hazelcast-queue`. */
  name: string
  /** Ms since 1970. */
  lastSeenAt: number
  /** About how many messages it held. */
  count: number
}

/** What a process knows of the cluster it uses. */
export interface KnownCluster extends SeenCluster {
  /** Ms since 1970: when it was seen first, and when its messages were counted last. */
  firstSeenAt: number
  countedAt: number
  /** Messages in an entry, on average: clusters count entries. */
  perEntry: number
  /** The clusters that were there before it, as `mergedLosses` orders them. */
  losses: readonly Loss[]
}

/** What a node knows. */
export type KnownClusters = Partial<Record<Store, KnownCluster>>

/** The epoch of each store's cluster, as far as it is known. */
export type Epochs = Partial<Record<Store, string>>

/**
 * Tells which clusters a process met first: what it writes then, it writes to these, or to later ones.
 *
 * @param known What its node knew before.
 * @param reports What the ready actors report now.
 */
export function epochsMetFirst(known: KnownClusters, reports: () => readonly ClusterReport[]): () => Epochs {
  const met: Epochs = {}
  for (const { store, epoch } of Object.values(known)) met[store] = epoch
  return () => {
    for (const { seen } of reports()) met[seen.store] ??= seen.epoch
    return { ...met }
  }
}

/** What an actor reports to all others of the cluster it uses. */
export interface ClusterReport {
  /** It changes every `KNOWN_PERIOD_MS`. */
  seen: SeenCluster
  losses: readonly Loss[]
  /** The other store's cluster, as this one remembers it. */
  other?: SeenCluster
}

/** What an actor reports to all others of the journal in its node's `--data`. */
export interface JournalReport {
  /** Of its directory: actors that report the same one reach the same files. */
  id: string
  /** When the first was written to it (ms since 1970); null: it has nothing. */
  beganAt: number | null
  /** The clusters that were there then, or before. */
  beganIn: Epochs
  /** Of the log: the epoch of the cluster that has all of it; null while it is put back, or waits for its cluster. */
  wholeIn: string | null
  /** Of the log: the epoch of the cluster that it was put back into; null when it was there all along. */
  putBackIn: string | null
  /** Since when something is put back (ms since 1970); null: nothing is. */
  since: number | null
  /** Messages that were put back, or found there, and about how many there are. */
  done: number
  total: number
  /** Journals that were seen before and are not there now. */
  absent: readonly KnownJournal[]
}

/** A journal that was seen. */
export interface KnownJournal {
  id: string
  /** The node that had it. */
  node: string
}

/** Losses of one store that are remembered; of more, the oldest confirmed ones are forgotten. */
const LOSSES_MAX = 50
/** A cluster that was begun so much before the former was seen last has not followed it. Clocks of nodes may differ. */
const OTHER_MARGIN_MS = 10_000

/**
 * Joins what two sides know of the losses of a store. Whoever joins them, in whichever order, gets the same JSON.
 *
 * @param epoch Of the cluster that is there: that one is not lost.
 */
export function mergedLosses(one: readonly Loss[], other: readonly Loss[], epoch: string): Loss[] {
  const byEpoch = new Map<string, Loss>()
  for (const loss of [...one, ...other]) {
    const known = byEpoch.get(loss.epoch)
    byEpoch.set(loss.epoch, known === undefined ? loss : joined(known, loss))
  }
  byEpoch.delete(epoch)
  const kept = [...byEpoch.values()].sort(isLessImportant).slice(0, LOSSES_MAX)
  return kept.sort((a, b) => a.noticedAt - b.noticedAt || (a.epoch < b.epoch ? -1 : 1))
}

function joined(a: Loss, b: Loss): Loss {
  return {
    ...{ store: a.store, epoch: a.epoch },
    kind: a.kind === 'other' ? b.kind : a.kind,
    lastSeenAt: Math.max(a.lastSeenAt, b.lastSeenAt),
    noticedAt: Math.min(a.noticedAt, b.noticedAt),
    count: Math.max(a.count, b.count),
    isConfirmed: a.isConfirmed || b.isConfirmed,
  }
}

function isLessImportant(a: Loss, b: Loss): number {
  return (
    Number(a.isConfirmed) - Number(b.isConfirmed) || b.noticedAt - a.noticedAt || (a.epoch < b.epoch ? -1 : 1)
  )
}

/** The loss of a cluster in whose place another was found. `found.at`: when that was begun, if it says so. */
export function lossOf(
  { store, epoch, name, lastSeenAt, count }: SeenCluster,
  found: { name: string; at?: number | undefined },
  noticedAt: number,
): Loss {
  const isOther = found.name !== name || (found.at ?? lastSeenAt) < lastSeenAt - OTHER_MARGIN_MS
  const kind = isOther ? 'other' : 'empty'
  return { store, epoch, kind, lastSeenAt, noticedAt, count, isConfirmed: false }
}

/** The losses that nobody has confirmed, of all that actors report: the log's first, oldest first. */
export function openLosses(reports: readonly ClusterReport[]): Loss[] {
  return (['log', 'queue'] as const).flatMap((store) => {
    const own = reports.filter(({ seen }) => seen.store === store)
    const losses = own.reduce<Loss[]>((sum, report) => mergedLosses(sum, report.losses, ''), [])
    return losses.filter(({ isConfirmed }) => !isConfirmed)
  })
}

/** What journals have put back. */
export interface Restored {
  /** Into the log, or found there; null: they have not ended. */
  messages: number | null
  /** The nodes whose journals were seen before and are not there. */
  absentNodes: readonly string[]
}

/** What these journals, of ready actors, have put back; undefined without one. */
export function restoredBy(journals: readonly JournalReport[]): Restored | undefined {
  if (journals.length === 0) return undefined
  const absent = journals.flatMap((journal) => journal.absent.map(({ node }) => node))
  const logs = new Map(
    journals.flatMap((journal) => (journal.putBackIn === null ? [] : [[journal.id, journal]])),
  )
  const isOver = journals.every(({ wholeIn }) => wholeIn !== null)
  const messages = [...logs.values()].reduce((sum, { done }) => sum + done, 0)
  return { messages: isOver ? messages : null, absentNodes: [...new Set(absent)].sort() }
}

/**
 * A loss for people: what, about how much, since when, and the next step.
 *
 * @param restored What it held is on disks, too, and is put back by itself.
 */
export function sentenceOf(
  { store, kind, count, lastSeenAt, noticedAt }: Loss,
  restored: Restored | undefined,
): string {
  const held = `about ${count} message${count === 1 ? '' : 's'} at ${minuteOf(lastSeenAt)}, when it was last seen`
  if (kind === 'other') {
    const flag = store === 'log' ? '--hazelcast-logging' : '--hazelcast-queue'
    return `the ${store}'s Hazelcast cluster is another one than --data knows, noticed at ${minuteOf(noticedAt)}: the former held ${held}. Next: correct ${flag}, or, if this is intended, mailroom loss --confirm`
  }
  const empty = `the ${store}'s Hazelcast cluster came back empty, noticed at ${minuteOf(noticedAt)}`
  if (restored?.messages === null) {
    return `${empty}: it held ${held}. What the journals have is put back by itself: restoring in /readyz says how far. Then: mailroom loss --confirm`
  }
  if (restored !== undefined) {
    const { messages, absentNodes } = restored
    const what =
      store === 'log' ? `${messages} messages of journals are in it again` : 'its lanes are filled again'
    const without = absentNodes.length > 0 ? `, without the journals of ${absentNodes.join(', ')}` : ''
    return `${empty}: it held ${held}. Now ${what}${without}. Next: mailroom loss --confirm`
  }
  return `${empty}: what it held is lost, ${held}. Next: mailroom redrive puts back what the other cluster has; then mailroom loss --confirm`
}

/** What `--journal off` means, for people: on these nodes. */
export function withoutJournal(nodes: readonly string[]): string {
  return `no journal on ${nodes.join(', ')} (--journal off): a Hazelcast cluster that stops as a whole loses what it held`
}

function minuteOf(instant: number): string {
  return `${new Date(instant).toISOString().slice(0, 16)}Z`
}
