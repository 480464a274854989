/** Starts and settles what is in hand of a held lane. An outcome is put once and stays; repeating it changes nothing. */
import { MailroomError } from '../../runtime/errors.ts'
import { byId, placeOf } from '../ids.ts'
import { attemptsOf, eachOnce, type Fate, settledAs, startedOnce } from '../lane.ts'
import type { Delivered, Settlement } from '../ports.ts'
import { deliveredRecords, type LaneRecord } from '../records.ts'
import type { LoadedBatch } from './backlog.ts'
import type { Hand, LaneState } from './lane-state.ts'

/** Settles for one lane. */
export class Settler {
  readonly #state: LaneState
  readonly #wake: () => void

  /** @param wake Called when something waits again. */
  constructor(state: LaneState, wake: () => void) {
    this.#state = state
    this.#wake = wake
  }

  /** As `Queue.start`. */
  async start(ids: readonly string[]): Promise<void> {
    const { lone } = this.#state
    const hands = ids.map((id) => this.#handOf(id))
    await Promise.all(
      hands.map(async (hand) => {
        const known = lone.get(hand.id)
        await lone.write(hand.id, hand.text, { replayed: false, ...known, ...startedOnce(known) })
        this.#state.leaveBatch(hand)
      }),
    )
  }

  /** As `Queue.settle`. */
  async settle(settlements: readonly Settlement[]): Promise<Delivered[]> {
    const { inHand } = this.#state
    this.#state.refuseReleased()
    const at = this.#state.clock.now()
    const pairs = eachOnce(settlements).flatMap((settlement) => {
      const hand = inHand.get(settlement.id)
      if (hand === undefined) return [] // Settled before: nothing changes.
      return [{ hand, settlement, fate: this.#fateOf(hand, settlement) }]
    })
    // Delivered without a handler: a power cut may undo that, and it is delivered again, to the same list.
    const isDurable = pairs.some(
      ({ settlement, hand }) => settlement.as !== 'done' || hand.batch === undefined,
    )
    const done = pairs.filter(({ settlement }) => settlement.as === 'done').map(({ hand }) => hand)
    const [shown] = await Promise.all([
      this.#deliver(done, at),
      ...pairs.map(({ hand, settlement, fate }) => this.#write(hand, settlement, { fate, at })),
      this.#state.records.write(recordsOf(pairs, at), isDurable),
    ])
    // Only now that all is durable: a call that fails is repeated as a whole, and shows as a whole.
    for (const { hand, settlement } of pairs) this.#putAway(hand, settlement)
    return shown.sort(byId)
  }

  /** Puts messages into the lane's list: a batch's rest in one entry, else each in one of its own. */
  async #deliver(hands: readonly Hand[], at: number): Promise<Delivered[]> {
    const byBatch = Map.groupBy(hands, ({ batch }) => batch)
    const shown = await Promise.all(
      [...byBatch].map(([batch, mates]) =>
        batch !== undefined && mates.length === batch.open.size
          ? this.#deliverTogether(batch, mates, at)
          : Promise.all(mates.map((hand) => this.#deliverAlone(hand, at))),
      ),
    )
    return shown.flat()
  }

  async #deliverTogether(
    { batchKey, texts, open }: LoadedBatch,
    hands: readonly Hand[],
    at: number,
  ): Promise<Delivered[]> {
    const own = texts.map((text, index) => (open.has(index + 1) ? text : null))
    const found = await this.#state.list.put(batchKey, own, { at, attempts: 1 })
    const stands = new Map(found.map((message) => [message.id, message]))
    return Promise.all(hands.map((hand) => stands.get(hand.id) ?? this.#deliverAlone(hand, at)))
  }

  async #deliverAlone({ id, text }: Hand, at: number): Promise<Delivered> {
    const { list, lone } = this.#state
    const [message] = await list.put(id, [text], { at, attempts: attemptsOf(lone.get(id)) })
    return message!
  }

  /** Undefined: it was not started and is given back, so it waits in its batch, as before. */
  #fateOf({ id }: Hand, settlement: Settlement): Fate | undefined {
    const { lone } = this.#state
    const known = lone.get(id)
    if (settlement.as === 'back' && !known?.open) return undefined
    return settledAs(settlement, lone.dueIn(0), known)
  }

  /** Writes an outcome other than delivered, durably. */
  async #write(
    { id, text }: Hand,
    settlement: Settlement,
    { fate, at }: { fate: Fate | undefined; at: number },
  ): Promise<void> {
    const { lone, dead } = this.#state
    if (fate?.is === 'waiting') {
      const replayed = settlement.as === 'back' && lone.get(id)!.replayed
      await lone.write(id, text, { ...fate.attempts, replayed })
    } else if (fate?.is === 'dead') await dead.bury(id, { text, ...fate.letter, deadAt: at })
  }

  /** Takes a settled message from where it was. */
  #putAway(hand: Hand, { as }: Settlement): void {
    if (as === 'back' && hand.batch !== undefined && !this.#state.lone.has(hand.id)) {
      this.#state.inHand.delete(hand.id) // Its text stays in memory, with its batch.
      hand.batch.ready.unshift(placeOf(hand.id))
      this.#wake()
      return
    }
    this.#state.drop(hand)
    this.#state.leaveBatch(hand)
    const known = this.#state.lone.get(hand.id)
    if (as === 'done') this.#state.forgetDelivered(hand.id)
    else if (as !== 'dead') this.#wake()
    else if (known !== undefined) this.#state.forgetDead(hand.id, { text: hand.text, ...known })
  }

  #handOf(id: string): Hand {
    this.#state.refuseReleased()
    const hand = this.#state.inHand.get(id)
    if (hand === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `message ${id} in hand` })
    return hand
  }
}

/** What the journal is to know of these. */
function recordsOf(settled: readonly { hand: Hand; fate: Fate | undefined }[], at: number): LaneRecord[] {
  const delivered: { id: string; attempts: number }[] = []
  const others: LaneRecord[] = []
  for (const { hand, fate } of settled) {
    const { id, text } = hand
    if (fate?.is === 'delivered') delivered.push({ id, attempts: fate.attempts })
    else if (fate?.is === 'waiting') others.push({ id, is: 'waiting', attempts: fate.attempts })
    else if (fate?.is === 'dead')
      others.push({ id, is: 'dead', letter: { text, ...fate.letter, deadAt: at } })
  }
  return [...deliveredRecords(delivered.sort(byId), at), ...others]
}
