/** A handler that does what the text says: `wait <ms>`, `throw`, `hang`, `die`; anything else is fine. */
import type { Handler } from '../../src/actors/messages/handler.ts'

const handle: Handler = async ({ text }) => {
  const [verb, ms] = text.split(' ')
  if (verb === 'wait') await new Promise((resolve) => setTimeout(resolve, Number(ms)))
  if (verb === 'throw') throw new Error('as the text says')
  if (verb === 'hang') await new Promise(() => {})
  if (verb === 'die') process.kill(process.pid, 'SIGKILL')
}

export default handle
