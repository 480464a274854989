/**
 * `npm run hazelcast`: one member of each cluster in the foreground, for trying Mailroom on Hazelcast. Other ports:
 * `npm run hazelcast -- 6701 6702`.
 */
import { type Cluster, HEAP_MIB, startCluster } from './cluster.ts'

const [loggingPort = 5701, queuePort = 5702] = process.argv.slice(2).map(Number)
const addresses =
  process.argv.length > 2
    ? ` --hazelcast-logging logging@127.0.0.1:${loggingPort} --hazelcast-queue queue@127.0.0.1:${queuePort}`
    : ''
const say = (what: string) => process.stdout.write(`${what}\n`)

const asked = Promise.withResolvers<void>()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => asked.resolve())

const running: Cluster[] = []
try {
  for (const [name, port] of Object.entries({ logging: loggingPort, queue: queuePort })) {
    running.push(await startCluster({ name, ports: [port], heapMiB: HEAP_MIB, isLasting: true, say }))
    say(`Cluster ${name} is ready on 127.0.0.1:${port}.`)
  }
  say(`
  In a second terminal:   npm start -- --backend hazelcast${addresses}
  Stop:                   Ctrl-C; what the clusters hold goes with them: members keep nothing on disk
`)
  const members = running.flatMap(({ members }) => members)
  await Promise.race([
    asked.promise,
    ...members.map(async (member) => {
      await member.exited
      throw new Error(`${member.address} ended:\n${member.output}`)
    }),
  ])
} catch (error) {
  process.stderr.write(`hazelcast: ${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await Promise.all(running.flatMap(({ members }) => members.map((member) => member.stop())))
}
