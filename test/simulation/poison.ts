/** The handler of simulated messages actors: does what a message's text says. */
import type { Handler } from '../../src/actors/messages/handler.ts'
import type { SimProcess } from './process.ts'

/** What a text can ask its handler to do; anything else is handled in some ms. */
export const POISONS = [
  'throws',
  'throws twice',
  'throws until mended',
  'hangs',
  'ignores its signal',
  'kills',
] as const

/** What all handlers of a world share. */
export interface Handling {
  /** Somebody found out why messages die, and put it right. */
  mended: boolean
}

/** The handler as one process has it. */
export function handlerOf(process: SimProcess, handling: Handling): Handler {
  return async ({ text }, { signal, attempt }) => {
    const poison = POISONS.findLast((each) => text.startsWith(each))
    await process.clock.sleep(process.rng.between(0.5, 5))
    switch (poison) {
      case undefined:
        return
      case 'throws twice':
        if (attempt > 2) return
        throw new Error('not yet')
      case 'throws until mended':
        if (handling.mended) return
        throw new Error('not mended')
      case 'throws':
        throw new Error('never')
      case 'hangs':
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        throw signal.reason
      case 'ignores its signal':
        await new Promise<never>(() => {})
        return
      case 'kills':
        process.scheduler.note(`${process.name} is killed by its handler`)
        process.die()
        await new Promise<never>(() => {})
    }
  }
}
