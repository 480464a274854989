/** A worker whose actors do little: for the tests of the supervisor. Steered by the actor's `handler` path. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { ActorContext, BootedActor } from '../../src/runtime/cluster/actor-context.ts'
import { bootWorker } from '../../src/runtime/cluster/worker-boot.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import type { NodeConfig } from '../../src/settings/config.ts'

/** Files beside `--data` whose existence makes an actor misbehave. */
async function boot(
  context: ActorContext<NodeConfig>,
  predecessorEnded: () => Promise<void>,
): Promise<BootedActor> {
  const orders = (what: string) => existsSync(`${context.config.data}/${context.name}.${what}`)
  if (orders('crash')) process.kill(process.pid, 'SIGKILL')
  if (orders('invalid')) throw new MailroomError('MR_CONFIG_INVALID', { problems: ['as ordered'] })
  if (context.role !== 'facade') await predecessorEnded()
  const server = createServer(async (request, response) => {
    try {
      const [, what, role, count] = request.url!.split('/')
      const actors =
        what === 'scale'
          ? await context.scale(role as never, Number(count))
          : what === 'restart'
            ? await context.restart(role as never)
            : context.directory.actors()
      response.end(JSON.stringify({ pid: process.pid, actors }))
    } catch (error) {
      response.statusCode = 500
      response.end(JSON.stringify({ code: (error as MailroomError).code }))
    }
  })
  const isFacade = context.role === 'facade'
  server.listen({ host: '127.0.0.1', port: isFacade ? context.config.port : 0, exclusive: !isFacade })
  await once(server, 'listening')
  const status = { mailbox: { depth: 0, capacity: 1, refused: 0 }, handled: 0, missing: [] }
  return {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    status: () => status,
    async drain() {
      while (orders('hang')) await context.clock.sleep(50)
      server.close()
      await once(server, 'close')
    },
  }
}

bootWorker({ facade: boot, logging: boot, messages: boot })
