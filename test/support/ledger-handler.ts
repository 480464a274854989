/** A handler that writes each run into a ledger, `LEDGER`: the text. `bad` texts fail, `fatal` ones for good; `later` ones wait while `GATE` is absent. */
import { appendFileSync, existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Handler } from '../../src/actors/messages/handler.ts'

const { LEDGER = '', GATE = '' } = process.env

const handle: Handler = async ({ text = '' }) => {
  while (text.startsWith('later') && !existsSync(GATE)) await sleep(100)
  appendFileSync(LEDGER, `${text}\n`)
  if (text.startsWith('bad')) throw new Error('as the text says')
  if (text.startsWith('fatal')) throw Object.assign(new Error('as the text says'), { retry: false })
}

export default handle
