/** Replays one history and prints every event. */
import { isWrong, runHistory } from './run.ts'
import type { Plan } from './sim-world.ts'

/** Runs a plan and prints every event. @returns Whether it kept the promise. */
export async function replay(plan: Plan, say: (line: string) => void): Promise<boolean> {
  const outcome = await runHistory(plan, { traced: true })
  for (const line of outcome.trace) say(line)
  say(JSON.stringify(outcome.verdict))
  for (const problem of outcome.problems) say(problem)
  say(`${outcome.events} events, event hash ${outcome.hash.toString(16)}`)
  return !isWrong(outcome)
}
