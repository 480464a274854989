/** Tests on real Hazelcast members: left out, in one line, where they cannot run; required when CI=true. */
import assert from 'node:assert/strict'
import test, { describe, type TestContext } from 'node:test'
import { type Cluster, startCluster } from '../../tools/hazelcast/cluster.ts'
import { memberProgram } from '../../tools/hazelcast/jar.ts'

/**
 * Calls `register`, which registers tests that need members. Without Java 17 or what fetches the members it
 * registers one test instead, which is skipped and says why, and fails when CI=true.
 *
 * @param options.atOnce The tests wait more than they work: all run at the same time.
 */
export function onMembers(register: () => void, { atOnce = false } = {}): void {
  const missing = missingForMembers()
  if (missing === undefined && atOnce) {
    describe('on Hazelcast members, at the same time', { concurrency: true }, register)
  } else if (missing === undefined) {
    register()
  } else {
    const skip = process.env['CI'] !== 'true' && missing
    test(`needs Hazelcast members: ${missing}`, { skip }, () => assert.fail(missing))
  }
}

/** A cluster of this many members on free ports, ended when the test is over. */
export async function clusterFor(
  context: Pick<TestContext, 'after'>,
  name: string,
  count: number,
  heapMiB?: number,
): Promise<Cluster> {
  const starting = startCluster({ name, ports: count, ...(heapMiB !== undefined && { heapMiB }) })
  // Said before it has started: the test may be over by then, because of another cluster that did not.
  context.after(() => starting.then((cluster) => cluster.end()).catch(() => {}))
  return starting
}

function missingForMembers(): string | undefined {
  try {
    memberProgram((what) => process.stderr.write(`${what}\n`))
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
