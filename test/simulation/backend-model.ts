/** The interface of a simulated backend to the simulated world. */

import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { JournaledBackend } from '../../src/storage/journal.ts'
import type { LaneReport } from '../../src/storage/lane-choice.ts'
import type { LaneBatch } from '../../src/storage/ports.ts'
import type { SimProcess } from './process.ts'

/** What a backend is told by the actor that opens it. */
export interface BackendHooks {
  depths?: LaneReport
  wakeRemote?: (lane: number) => void
  repair?: (batch: LaneBatch) => Promise<unknown>
}

/** What of a backend survives its processes. */
export interface BackendModel {
  /** Opens it in one process. */
  open(world: ActorContext<NodeConfig>, process: SimProcess, hooks: BackendHooks): JournaledBackend
  /** Ids (or keys) of what is neither delivered nor dead, as the stores have it. */
  pending(): string[]
  /** True when nothing is under way to the stores that may yet have an effect. */
  quiet(): boolean
  /** Ends all faults of the stores. */
  heal(): void
}
