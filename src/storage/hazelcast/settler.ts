/** Starts and settles what is in hand of a held lane. An outcome is put once and stays; repeating it changes nothing. */
import { MailroomError } from '../../runtime/errors.ts'
import { byId, placeOf } from '../ids.ts'
import { attemptsOf, eachOnce, settledAs, startedOnce } from '../lane.ts'
import type { Delivered, Settlement } from '../ports.ts'
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
    const pairs = eachOnce(settlements).flatMap((settlement) => {
      const hand = inHand.get(settlement.id)
      return hand === undefined ? [] : [{ hand, settlement }] // Settled before: nothing changes.
    })
    const done = pairs.filter(({ settlement }) => settlement.as === 'done').map(({ hand }) => hand)
    const [shown] = await Promise.all([
      this.#deliver(done),
      ...pairs.map(({ hand, settlement }) => this.#write(hand, settlement)),
    ])
    // Only now that all is durable: a call that fails is repeated as a whole, and shows as a whole.
    for (const { hand, settlement } of pairs) this.#putAway(hand, settlement)
    return shown.sort(byId)
  }

  /** Puts messages into the lane's list: a batch's rest in one entry, else each in one of its own. */
  async #deliver(hands: readonly Hand[]): Promise<Delivered[]> {
    const byBatch = Map.groupBy(hands, ({ batch }) => batch)
    const shown = await Promise.all(
      [...byBatch].map(([batch, mates]) =>
        batch !== undefined && mates.length === batch.open.size
          ? this.#deliverTogether(batch, mates)
          : Promise.all(mates.map((hand) => this.#deliverAlone(hand))),
      ),
    )
    return shown.flat()
  }

  async #deliverTogether(
    { batchKey, texts, open }: LoadedBatch,
    hands: readonly Hand[],
  ): Promise<Delivered[]> {
    const own = texts.map((text, index) => (open.has(index + 1) ? text : null))
    const found = await this.#state.list.put(batchKey, own, 1)
    const stands = new Map(found.map((message) => [message.id, message]))
    return Promise.all(hands.map((hand) => stands.get(hand.id) ?? this.#deliverAlone(hand)))
  }

  async #deliverAlone({ id, text }: Hand): Promise<Delivered> {
    const { list, lone } = this.#state
    const [message] = await list.put(id, [text], attemptsOf(lone.get(id)))
    return message!
  }

  /** Writes an outcome other than delivered, durably. */
  async #write({ id, text }: Hand, settlement: Settlement): Promise<void> {
    const { lone, dead } = this.#state
    const known = lone.get(id)
    // One that was not started waits in its batch, as before.
    if (settlement.as === 'back' && !known?.open) return
    const fate = settledAs(settlement, lone.dueIn(0), known)
    if (fate.is === 'waiting') {
      const replayed = settlement.as === 'back' && known!.replayed
      await lone.write(id, text, { ...fate.attempts, replayed })
    } else if (fate.is === 'dead') await dead.bury(id, { text, ...fate.letter })
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
