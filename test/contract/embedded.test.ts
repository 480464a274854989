import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock as clock, systemRandom as random } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { openEmbedded } from '../../src/storage/embedded/open.ts'
import type { Backend } from '../../src/storage/ports.ts'
import { backendSuite, onlyLane } from './backend-suite.ts'

backendSuite('embedded', async () => {
  const data = mkdtempSync(join(tmpdir(), 'embedded-'))
  const logger = createLogger('silent', {})
  const options = { data, laneCount: 16, clock, random, logger, retentionMs: 7 * 24 * 60 * 60 * 1000 }
  const opened: Backend[] = []
  const open = (more: object) => {
    const backend = openEmbedded({ ...options, ...more })
    opened.push(backend)
    return backend
  }
  return {
    logging: async (number) => open({ writer: number }),
    messages: async () => open({}),
    facade: async (lane) => open({ depths: onlyLane(16, lane) }),
    // Every file and lock goes with its process; nothing is written on the way out.
    die: (backend) => backend.close(),
    async end() {
      for (const backend of opened) await backend.close()
      rmSync(data, { recursive: true })
    },
  }
})
