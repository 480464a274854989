/** Ids in order. A page of many costs a binary search, where sorting them for each page would cost a sort. */

/** Ids, ascending, each once. */
export class SortedIds {
  #ids: string[] = []

  /** Forgets what it has, and takes these, in any order, each given once. */
  reset(ids: Iterable<string>): void {
    this.#ids = [...ids].sort()
  }

  /** Does nothing when it is there. */
  add(id: string): void {
    const index = this.#indexOf(id)
    if (this.#ids[index] !== id) this.#ids.splice(index, 0, id)
  }

  /** Does nothing when it is not there. */
  remove(id: string): void {
    const index = this.#indexOf(id)
    if (this.#ids[index] === id) this.#ids.splice(index, 1)
  }

  /** The first `limit` above `after`. */
  page(after: string, limit: number): string[] {
    const index = this.#indexOf(after)
    const from = this.#ids[index] === after ? index + 1 : index
    return this.#ids.slice(from, from + limit)
  }

  /** Index of the first at or above an id. */
  #indexOf(id: string): number {
    const last = this.#ids.at(-1)
    if (last === undefined || last < id) return this.#ids.length
    let [low, high] = [0, this.#ids.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#ids[middle]! < id) low = middle + 1
      else high = middle
    }
    return low
  }
}
