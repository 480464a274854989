/**
 * Takes a batch into the queue: first `pending`, then the log, then the wake-up, which nobody waits for. Whatever
 * dies in between leaves an entry in `pending`, which its lane's holder finds, logs and delivers: so once that
 * is written the outcome of a failure is `unknown`.
 *
 * An idempotency key makes a batch of its own, whose lane the key decides:
 *
 *   (new) ──▶ kept, not done ──▶ pending ──▶ log ──▶ done ──▶ (a repeat is answered as the first)
 *                  │ a repeat while the first may still run: busy
 *                  └ a repeat later: the same steps again, with the same ids and what the first has stored
 */

import { crc32 } from 'node:zlib'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { FIRST_RUN_MS } from '../../runtime/timings.ts'
import { batchKeyOf, timeOf } from '../ids.ts'
import type { LaneChoice } from '../lane-choice.ts'
import type { Batch, IdempotencyKey, LaneBatch, Message, Queue, Receipt } from '../ports.ts'
import type { Bound } from './bound.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, onlyAway, putOnce, throwInDoubt } from './cluster.ts'
import { type KeyEntry, mailOf, messagesOf, NAMES, type PendingEntry, pendingKey } from './entries.ts'

/** What an acceptor needs. */
export interface QueueAcceptorOptions {
  cluster: Cluster
  clock: Clock
  laneCount: number
  choice: LaneChoice
  bound: Bound
  /** How long a key is known. */
  keyRetentionMs: number
  /** True while the keys of a lane are not known, which were before its cluster came back empty. */
  lacksKeys?: ((lane: number) => Promise<boolean>) | undefined
}

type Append = Parameters<Queue['accept']>[1]
type Find = Parameters<Queue['accept']>[2]

/** Answers `Queue.accept`. */
export class QueueAcceptor {
  readonly #options: QueueAcceptorOptions
  readonly #pending: ClusterMap
  readonly #keys: ClusterMap

  constructor(options: QueueAcceptorOptions) {
    this.#options = options
    this.#pending = options.cluster.map(NAMES.pending)
    this.#keys = options.cluster.map(NAMES.keys)
  }

  /** @throws {MailroomError} `MR_STORE_UNAVAILABLE`, `MR_KEY_BUSY`, `MR_KEY_REUSED`, or what `append` threw. */
  async accept({ key, ...batch }: Batch, append: Append, find: Find): Promise<Receipt[]> {
    this.#options.bound.check()
    if (key !== undefined) return this.#acceptKeyed(batch, key, { append, find })
    const lane = this.#options.choice.choose(batch.messages.length)
    return this.#store({ ...batch, lane }, append)
  }

  async #acceptKeyed(
    batch: Batch,
    key: IdempotencyKey,
    { append, find }: { append: Append; find: Find },
  ): Promise<Receipt[]> {
    const lane = crc32(key.value) % this.#options.laneCount
    if (await this.#options.lacksKeys?.(lane)) throw lackingKeys(lane)
    const own: KeyEntry = {
      batchKey: batchKeyOf(batch.messages[0]!.id),
      count: batch.messages.length,
      hash: key.hash,
      done: false,
    }
    const given = JSON.stringify(own)
    const found = await putOnce(this.#keys, key.value, given, this.#options.keyRetentionMs)
    // The cluster may have come back empty before it took the key: then nobody knows yet whether it is a repeat.
    if (this.#options.lacksKeys !== undefined && found === given && (await this.#options.lacksKeys(lane))) {
      await this.#keys.removeIfSame(key.value, given).catch(onlyAway)
      throw lackingKeys(lane)
    }
    const known = JSON.parse(found) as KeyEntry
    if (known.hash !== key.hash) throw new MailroomError('MR_KEY_REUSED', { key: key.value })
    const texts = batch.messages.map(({ text }) => text)
    const messages = messagesOf(known.batchKey, texts)
    if (known.done) return messages.map(({ id }) => ({ id, replayed: true }))
    const isOther = known.batchKey !== own.batchKey
    const { clock } = this.#options
    const at = timeOf(known.batchKey)
    // Of a node whose clock is far ahead, the age of a key is not known: the same steps again do no harm.
    if (isOther && at > clock.ago(FIRST_RUN_MS) && at < clock.now() + FIRST_RUN_MS) {
      throw new MailroomError('MR_KEY_BUSY', { key: key.value })
    }
    // The key is written by now, so a failure of the next step is no `none`.
    const store = async () => {
      const keyed = { ...batch, messages, lane, keyed: key }
      if (!isOther) return this.#store(keyed, append)
      // What the log has is pending, or was: put there once more it would be delivered with the texts of this repeat.
      const found = await replayedOf(messages, find)
      return found ?? this.#store(keyed, (given) => appendOnce(given, append, find))
    }
    const receipts = await store().catch(throwInDoubt)
    // A repeat that finds it not done takes the same steps again, so nobody has to know that this failed.
    const done = JSON.stringify({ ...known, done: true })
    await this.#keys.set(key.value, done, this.#options.keyRetentionMs).catch(onlyAway)
    return receipts
  }

  async #store(batch: LaneBatch, append: Append): Promise<Receipt[]> {
    const { bound, cluster } = this.#options
    const { lane, messages, keyed } = batch
    const key = pendingKey(lane, batchKeyOf(messages[0]!.id), messages.length)
    const entry: PendingEntry = { texts: messages.map(({ text }) => text), ...(keyed && { keyed }) }
    const value = JSON.stringify(entry)
    // A repeat finds what the first has stored, and goes on with that.
    const stands = await putOnce(this.#pending, key, value, FOR_EVER_MS)
    if (stands === value) bound.added(value)
    const { texts } = JSON.parse(stands) as PendingEntry
    const stored = messages.map(({ id }, index) => ({ id, text: texts[index]! }))
    const receipts = await append({ ...batch, messages: stored }).catch(throwInDoubt)
    // A hint: without it, its lane's holder finds the batch later.
    cluster.queue(mailOf(lane)).offer(key).catch(onlyAway)
    return receipts
  }
}

/**
 * Appends the batch of a request that did not end, unless it is in the log: the first, or another repeat, may have come
 * that far, with other texts, and its batch may have been delivered since.
 */
async function appendOnce(batch: LaneBatch, append: Append, find: Find): Promise<Receipt[]> {
  return (await replayedOf(batch.messages, find)) ?? append(batch)
}

/** Undefined when the log does not have them. */
async function replayedOf(messages: readonly Message[], find: Find): Promise<Receipt[] | undefined> {
  const [first] = messages as [Message]
  if ((await find(first.id)) === undefined) return undefined
  return messages.map(({ id }) => ({ id, replayed: true }))
}

function lackingKeys(lane: number): MailroomError {
  const reason = `the keys of lane ${lane} are being restored from journals`
  return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
}
