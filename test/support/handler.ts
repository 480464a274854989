/** A handler that does what the text says: `wait <ms>`, `throw`, `fail <attempts>`, `hang`, `die`; anything else is fine. */
import type { Handler } from '../../src/actors/messages/handler.ts'

const handle: Handler = async ({ text }, { attempt }) => {
  const [verb, value] = text.split(' ')
  if (verb === 'wait') await new Promise((resolve) => setTimeout(resolve, Number(value)))
  if (verb === 'throw') throw new Error('as the text says')
  if (verb === 'fail' && attempt <= Number(value)) throw new Error(`attempt ${attempt}`)
  if (verb === 'hang') await new Promise(() => {})
  if (verb === 'die') process.kill(process.pid, 'SIGKILL')
}

export default handle
