/** The tests' own backend keeps the contract too, or what is tested on it proves nothing. */
import { systemClock } from '../../src/runtime/clock.ts'
import { MemoryStore } from '../support/memory-backend.ts'
import { backendSuite } from './backend-suite.ts'

backendSuite('memory', async () => {
  const store = new MemoryStore(systemClock, 16)
  return {
    logging: async () => store.open(),
    messages: async () => store.open(),
    facade: async (lane) => store.open(lane),
    forget: async (lane) => store.forget(lane),
    die: (backend) => backend.close(),
    end: async () => {},
  }
})
