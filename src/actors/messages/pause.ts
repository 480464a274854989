/** Whether an operator has paused delivery, as one messages actor knows it. */

/** Not paused, until it is told. */
export class Pause {
  #isPaused = false
  #over = Promise.withResolvers<void>()
  /** Counts what it was told, so that an answer that was asked for earlier does not undo it. */
  #version = 0

  get isPaused(): boolean {
    return this.#isPaused
  }

  get version(): number {
    return this.#version
  }

  /**
   * Tells it.
   *
   * @param version When this was asked for: what it was told since counts more.
   * @returns False when nothing has changed.
   */
  set(paused: boolean, version = this.#version): boolean {
    if (version !== this.#version) return false
    this.#version++
    if (paused === this.#isPaused) return false
    this.#isPaused = paused
    if (paused) this.#over = Promise.withResolvers()
    else this.#over.resolve()
    return true
  }

  /** Waits until it is over, or the signal is aborted. */
  async over(signal: AbortSignal): Promise<void> {
    const { promise: aborted, resolve: end } = Promise.withResolvers<void>()
    const onAbort = () => end()
    signal.addEventListener('abort', onAbort)
    try {
      while (this.#isPaused && !signal.aborted) await Promise.race([this.#over.promise, aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}
