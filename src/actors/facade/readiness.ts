/** What `/readyz` reports: what is missing to accept a message, what of the data is damaged, and warnings. */
import { type ActorEntry, type Directory, skewsOf } from '../../runtime/cluster/directory.ts'
import type { NodeClock } from '../../runtime/node-time.ts'
import type { Backend } from '../../storage/ports.ts'

/** `missing` and `damaged` of `Facade`, from the directory and the facade's own backend. */
export class Readiness {
  readonly #clock: NodeClock
  readonly #directory: Directory
  readonly #backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>
  /** True once every lane has been held at the same time. Before that, nothing accepted might be delivered. */
  #wereAllLanesHeld = false

  constructor(
    { clock, directory }: { clock: NodeClock; directory: Directory },
    backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>,
  ) {
    this.#clock = clock
    this.#directory = directory
    this.#backend = backend
  }

  missing(isDraining: boolean): string[] {
    const all = this.#directory.actors()
    const missing = isDraining ? ['this node is draining'] : []
    const problem = this.#clock.problem()
    if (problem !== undefined) missing.push(problem.message)
    missing.push(...this.#backend.missing())
    for (const role of ['logging', 'messages'] as const) {
      const actors = all.filter((actor) => actor.role === role)
      if (!actors.some(({ state }) => state === 'ready')) missing.push(`a ready ${role} actor`)
      missing.push(...actors.flatMap(troublesOf))
    }
    if (!this.#wereAllLanesHeld) {
      const held = new Set(all.flatMap(({ lanes = {} }) => Object.keys(lanes)))
      const { laneCount } = this.#backend.queue
      this.#wereAllLanesHeld = held.size === laneCount
      if (!this.#wereAllLanesHeld) missing.push(`holders of ${laneCount - held.size} lanes`)
    }
    return missing
  }

  /** A facade that cannot start is a warning only: the facade that answers this takes posts. */
  warnings(): string[] {
    const actors = this.#directory.actors()
    const facades = actors.filter(({ role }) => role === 'facade')
    return [...this.#clock.warnings(), ...skewsOf(actors), ...facades.flatMap(troublesOf)]
  }

  damaged(): string[] {
    const ofActors = this.#directory.actors().flatMap(({ damaged = [] }) => damaged)
    return [...new Set([...this.#backend.damaged(), ...ofActors])]
  }
}

function troublesOf({ name, state, missing }: ActorEntry): string[] {
  const troubles = state === 'failed' ? ['it keeps crashing', ...missing] : missing
  return troubles.map((what) => `${name}: ${what}`)
}
