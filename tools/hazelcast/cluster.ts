/** A real Hazelcast cluster on this machine, for tests, benchmarks and `npm run hazelcast`. */
import { freePort } from '../free-port.ts'
import { memberProgram } from './jar.ts'
import { Member } from './member.ts'

/** A running cluster. Its members are killed, frozen and started again one by one. */
export interface Cluster {
  name: string
  /** In the order of the ports. */
  members: readonly Member[]
  /** `HOST:PORT` of each. */
  addresses: readonly string[]
  /** Settles when every running member sees all that run. */
  whole(): Promise<void>
  /** Ends all members at once. May be called twice. */
  end(): Promise<void>
}

/** A member's heap (MiB) that holds all that Mailroom lets in, as in compose.yaml; a smaller one is for small tests. */
export const HEAP_MIB = 2048

/**
 * Starts a cluster with the configuration of `config/`, and waits until it is whole. One member takes 1.5 s, three
 * take 5 s. They end with this process, however it ends.
 *
 * @param options.ports One member each, on 127.0.0.1; free ones when a count is given.
 * @param options.config Path of another configuration than that of `config/`; it is told the same properties.
 * @param options.heapMiB The most each member's heap may take.
 * @param options.isLasting The members run for long, or are measured: Java optimizes their code. Others start with two
 *   thirds of the CPU time.
 * @param options.say Is told what takes time.
 * @throws {Error} In words for people: what is missing, or the last that a member wrote. Nothing is left running.
 */
export async function startCluster(options: {
  name: string
  ports: readonly number[] | number
  config?: string
  heapMiB?: number
  isLasting?: boolean
  say?: (what: string) => void
}): Promise<Cluster> {
  const { name, config, heapMiB = 256, isLasting = false, say = () => {} } = options
  const program = memberProgram(say)
  const ports = await portsOf(options.ports)
  const members = ports.map(
    (port) => new Member({ program, cluster: name, port, ports, config, heapMiB, isLasting }),
  )
  const cluster: Cluster = {
    name,
    members,
    addresses: members.map(({ address }) => address),
    async whole() {
      const running = members.filter(({ isRunning }) => isRunning)
      await Promise.all(running.map((member) => member.sees(running.length)))
    },
    async end() {
      await Promise.all(members.map((member) => member.kill()))
    },
  }
  try {
    // Members that start at once need 11 s to agree on who was first.
    const [first, ...rest] = members
    await first?.start()
    await Promise.all(rest.map((member) => member.start()))
    await cluster.whole()
    return cluster
  } catch (error) {
    await cluster.end()
    throw error
  }
}

async function portsOf(ports: readonly number[] | number): Promise<readonly number[]> {
  return typeof ports === 'number' ? Promise.all(Array.from({ length: ports }, freePort)) : ports
}
