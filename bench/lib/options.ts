/** The options that the benches of single posts share. */
import { parseArgs } from 'node:util'

export interface Rounds {
  /** How often each load is run, in turns with the others. */
  rounds: number
  /** How long each load is run. */
  seconds: number
  /** What else the command line says, in its order. */
  positionals: string[]
  only?: string
}

/** Reads `--rounds`, `--seconds` and `--only` from the command line. @throws {Error} On another option. */
export function roundsOf(defaults: { rounds: number; seconds: number }): Rounds {
  const { values, positionals } = parseArgs({
    options: { rounds: { type: 'string' }, seconds: { type: 'string' }, only: { type: 'string' } },
    allowPositionals: true,
  })
  const { rounds = defaults.rounds, seconds = defaults.seconds, only } = values
  return { rounds: Number(rounds), seconds: Number(seconds), positionals, ...(only && { only }) }
}
