/** Those who wait until a message is settled, by its id. */
export class Waiters {
  readonly #byId = new Map<string, Set<AbortController>>()

  /** Begins to wait: what it returns is aborted when the message is settled, and is to be forgotten then. */
  add(id: string): AbortController {
    const waiting = this.#byId.get(id) ?? new Set()
    const settled = new AbortController()
    this.#byId.set(id, waiting.add(settled))
    return settled
  }

  forget(id: string, settled: AbortController): void {
    const waiting = this.#byId.get(id)
    waiting?.delete(settled)
    if (waiting?.size === 0) this.#byId.delete(id)
  }

  /** Tells whoever waits for one of these. */
  wake(ids: readonly string[]): void {
    if (this.#byId.size === 0) return
    for (const id of ids) for (const settled of this.#byId.get(id) ?? []) settled.abort()
  }
}
