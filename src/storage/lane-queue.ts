/** What the queues of all backends share: the lanes held by this process, and the calls that go to one of them. */
import { MailroomError } from '../runtime/errors.ts'
import type {
  Claimed,
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Delivered,
  DeliveredHead,
  Depth,
  Queue,
  Range,
  SettledPlace,
  Settlement,
  Sifted,
  Whereabouts,
} from './ports.ts'

type Awaitable<T> = T | Promise<T>

type CallOfLane =
  | 'claim'
  | 'start'
  | 'settle'
  | 'find'
  | 'delivered'
  | 'deliveredSince'
  | 'deadSince'
  | 'depth'
  | 'dead'
  | 'sift'
  | 'groupDead'
  | 'replay'
  | 'purge'

/** A held lane: answers calls of `Queue`, without the lane's number. */
export type Held = { wake(): void } & {
  [Call in CallOfLane]: Queue[Call] extends (lane: number, ...rest: infer A) => Promise<infer R>
    ? (...rest: A) => Awaitable<R>
    : never
}

/** Passes each call to the lane that it names. */
export abstract class LaneQueue<L extends Held> implements Pick<Queue, CallOfLane | 'wake' | 'isHeld'> {
  protected readonly held = new Map<number, L>()

  /** Runs `work` on a held lane. @throws {MailroomError} `MR_LANE_ELSEWHERE` for any other. */
  protected abstract in<T>(lane: number, work: (held: L) => Awaitable<T>): Promise<T>

  isHeld(lane: number): boolean {
    return this.held.has(lane)
  }

  wake(lane: number): void {
    this.held.get(lane)?.wake()
  }

  claim(lane: number, maxCount: number, waitMs: number, maxRetryCount = maxCount): Promise<Claimed[]> {
    return this.in(lane, (held) => held.claim(maxCount, waitMs, maxRetryCount))
  }

  start(lane: number, ids: readonly string[]): Promise<void> {
    return this.in(lane, (held) => held.start(ids))
  }

  settle(lane: number, settlements: readonly Settlement[]): Promise<Delivered[]> {
    return this.in(lane, (held) => held.settle(settlements))
  }

  find(lane: number, id: string): Promise<Whereabouts> {
    return this.in(lane, (held) => held.find(id))
  }

  delivered(lane: number, range: Range): Promise<Delivered[]> {
    return this.in(lane, (held) => held.delivered(range))
  }

  deliveredSince(lane: number, from: SettledPlace, limit: number): Promise<DeliveredHead[]> {
    return this.in(lane, (held) => held.deliveredSince(from, limit))
  }

  deadSince(lane: number, from: SettledPlace, limit: number): Promise<DeadHead[]> {
    return this.in(lane, (held) => held.deadSince(from, limit))
  }

  depth(lane: number): Promise<Depth> {
    return this.in(lane, (held) => held.depth())
  }

  dead(lane: number, range: { after?: string; limit: number }): Promise<Dead[]> {
    return this.in(lane, (held) => held.dead(range))
  }

  sift(lane: number, range: { after: string; limit: number }, filter: DeadFilter): Promise<Sifted[]> {
    return this.in(lane, (held) => held.sift(range, filter))
  }

  groupDead(lane: number, range: { after: string; limit: number }): Promise<DeadGroups> {
    return this.in(lane, (held) => held.groupDead(range))
  }

  replay(lane: number, ids: readonly string[]): Promise<number> {
    return this.in(lane, (held) => held.replay(ids))
  }

  purge(lane: number, ids: readonly string[]): Promise<number> {
    return this.in(lane, (held) => held.purge(ids))
  }
}

/** What a queue says of a lane that this process does not hold. */
export function elsewhere(lane: number): MailroomError<'MR_LANE_ELSEWHERE'> {
  return new MailroomError('MR_LANE_ELSEWHERE', { lane, name: 'this process' })
}
