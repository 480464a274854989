/** What no client may bring about: a stored message nobody acknowledged, a lost one, a death, a full memory. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { System } from '../support/system.ts'

/**
 * No process may ever have been larger, in kB as the kernel counts: what it takes by itself, and the 256 MiB that
 * half-read bodies of all clients together may take.
 */
const MEMORY_MAX_KB = 512 * 1024

/** A system as it was before, to be compared with what it is after. */
export class Unharmed {
  readonly #system: System
  readonly #pids: ReadonlyMap<string, number>
  readonly #stored: string[] = []
  readonly #perhaps = new Set<string>()

  private constructor(system: System, pids: ReadonlyMap<string, number>) {
    this.#system = system
    this.#pids = pids
  }

  /** Looks at a system, and stores messages that must survive. */
  static async before(system: System, texts: readonly string[]): Promise<Unharmed> {
    const unharmed = new Unharmed(system, await pidsOf(system))
    for (const text of texts) await system.send('POST', '/messages', { text })
    unharmed.stores(texts)
    return unharmed
  }

  /** These texts may, and must, be in the lists from now on. */
  stores(texts: readonly string[]): void {
    this.#stored.push(...texts)
  }

  /** These texts, given by a client that heard no answer, may be in both lists or in neither. */
  mayStore(texts: readonly string[]): void {
    for (const text of texts) this.#perhaps.add(text)
  }

  /** Asserts that both lists hold exactly what was stored, and that the same processes are alive and small. */
  async assert(): Promise<void> {
    const system = this.#system
    await system.until('nothing waits', async () =>
      (await system.actors()).every(({ waiting = 0 }) => waiting === 0),
    )
    const { logged, stores } = await system.lists()
    const stored = logged.filter(({ text }) => this.#perhaps.has(text))
    const expected = [...this.#stored, ...new Set(stored.map(({ text }) => text))]
    const delivered = [...stores.values()].flat()
    for (const list of [logged, delivered]) {
      const texts = list.map(({ text }) => text)
      assert.deepEqual(moreIn(texts, expected), [], 'stored, and nobody may')
      assert.deepEqual(moreIn(expected, texts), [], 'lost')
    }
    assert.deepEqual(
      delivered.map(({ id }) => id).sort(),
      logged.map(({ id }) => id),
    )
    assert.deepEqual(await pidsOf(system), this.#pids)
    assert.doesNotMatch(system.output, /"msg":"(bug|actor failed)"/)
    if (process.platform === 'linux') for (const one of this.#pids) assertSmall(one)
  }
}

/** What `texts` holds more often than `others` do, in the first 100 characters. */
function moreIn(texts: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const text of others) counts.set(text, (counts.get(text) ?? 0) + 1)
  return texts
    .filter((text) => {
      const left = counts.get(text) ?? 0
      counts.set(text, left - 1)
      return left <= 0
    })
    .map((text) => text.slice(0, 100))
}

/** Name -> pid of every process of a system. */
async function pidsOf(system: System): Promise<Map<string, number>> {
  const actors = (await system.actors()).map(({ name, pid }) => [name, pid] as const)
  return new Map([['primary', system.primary.pid!], ...actors])
}

function assertSmall([name, pid]: readonly [name: string, pid: number]): void {
  const peakKb = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  assert.ok(peakKb < MEMORY_MAX_KB, `${name} took ${peakKb} kB at its peak`)
}
