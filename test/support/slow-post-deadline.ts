/** Preloaded with `--import`: this process and its threads run with a post deadline of 5 s. */
import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'

const DEFINED = 'export const POST_DEADLINE_MS = 3 * SECOND_MS'

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith('/src/runtime/timings.ts')) return loaded
    const source = String(loaded.source)
    assert.ok(source.includes(DEFINED), `expected src/runtime/timings.ts to hold: ${DEFINED}`)
    return { ...loaded, source: source.replace(DEFINED, DEFINED.replace('3', '5')) }
  },
})
