/** The tests' own backend keeps the contract too, or what is tested on it proves nothing. */
import { systemClock } from '../../src/runtime/clock.ts'
import { MemoryStore } from '../support/memory-backend.ts'
import { backendSuite } from './backend-suite.ts'

backendSuite('memory', async () => {
  const store = new MemoryStore(systemClock, 16)
  return {
    logging: async () => store.open(),
    open: async () => store.open(),
    die: (backend) => backend.close(),
    end: async () => {},
  }
})
