/** `mailroom start`: runs this process as the primary of a node. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sources } from '../inbox/source.ts'
import { readSources } from '../inbox/sources.ts'
import { createNode } from '../nodes/node.ts'
import { type Cancel, systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import { ClusterMemory, NOWHERE } from '../runtime/cluster/cluster-memory.ts'
import { addressOf, EVERY_ADDRESS, ROLES } from '../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../runtime/errors.ts'
import { exit, onBug, onEndSignal } from '../runtime/lifecycle.ts'
import { createLogger, type Logger } from '../runtime/logger.ts'
import { withoutJournal } from '../runtime/losses.ts'
import { TimeKeeper, thisMachine } from '../runtime/node-time.ts'
import { outputOf } from '../runtime/output.ts'
import { MISSING_CHECK_MS, PORT_CHECK_MS, PORT_WAIT_MS, UNREADY_LOG_MS } from '../runtime/timings.ts'
import { type Config, isJournaled, type NodeConfig } from '../settings/config.ts'
import { isLoopback } from '../settings/setting-values.ts'
import { environment, serviceVariables } from '../settings/settings-reader.ts'
import { newestTime, readTime, timeStore } from '../storage/embedded/clock-file.ts'
import { DATA_ARGUMENT, openDataDirectory } from '../storage/embedded/data-directory.ts'
import { ClustersFile } from '../storage/hazelcast/clusters-file.ts'
import { DEFAULT_LANES } from '../storage/limits.ts'

/**
 * Where the workers' compiled code is kept for the next start: beside the code, so that whoever can write there can write
 * the code itself. Where it cannot be written, Node goes without.
 */
const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/compile', import.meta.url))

/**
 * Runs a node until a signal ends it; the process then exits with code 0, drained.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` (also a port in use, a handler that does not load),
 * `MR_DATA_LOCKED`, `MR_DATA_VERSION`: the node did not start and nothing is left running.
 */
export async function start(config: Config): Promise<void> {
  if (config.json) outputOf(1).isTerminal = false
  const logger = createLogger(config.logLevel, { node: config.node })
  environment()['NODE_COMPILE_CACHE'] ??= COMPILE_CACHE
  const variables = serviceVariables()
  if (variables.length > 0) logger.info({ variables }, 'Kubernetes service variables are ignored')
  if (config.backend === 'hazelcast' && !isJournaled(config)) logger.warn(withoutJournal([config.node]))
  onBug((error) => logger.fatal({ err: error }, 'primary failed'))
  const data =
    config.backend === 'embedded'
      ? await openDataDirectory(config.data, { lanes: config.lanes, clock, logger })
      : undefined
  const clusters = config.backend === 'hazelcast' ? new ClustersFile({ ...config, clock, logger }) : undefined
  try {
    const settled: NodeConfig = {
      ...config,
      lanes: data?.laneCount ?? config.lanes ?? DEFAULT_LANES,
      dataIdentity: data?.identity,
      inbox: inboxOf(config),
      port: await publicPort(config),
    }
    const { host, port } = settled
    const url = `http://${addressOf({ host: EVERY_ADDRESS.has(host) ? 'localhost' : host, port })}`
    const node = createNode({
      exec: fileURLToPath(new URL(`../worker${extname(import.meta.url)}`, import.meta.url)),
      args: data === undefined ? [] : [`${DATA_ARGUMENT}${config.data}`],
      ...{ config: settled, node: config.node, version: versionOf(), clock, random, logger },
      timeKeeper: timeKeeperOf(settled, logger),
      memory: new ClusterMemory(clusters?.read() ?? {}, clusters ?? NOWHERE, logger, isJournaled(config)),
      // A file of sources that is wrong is refused before an actor of any role is restarted: `mailroom restart` begins
      // with another role than the facades, which alone take in what the file says.
      reconfigure: (role, now) => {
        const inbox = inboxOf(config)
        return role === 'facade' ? { ...now, inbox } : now
      },
      secret: config.secret ?? randomBytes(32).toString('hex'),
      onChange: () => data?.record({ pid: process.pid, url, workers: node.supervisor.pids() }),
    })
    const { supervisor } = node
    const ended = Promise.withResolvers<void>()
    let stopLogging: Cancel = () => {}
    onEndSignal(clock, {
      first(signal) {
        logger.info({ signal }, 'draining; a second signal ends at once')
        stopLogging()
        ended.resolve(supervisor.stop())
      },
      atOnce(signal) {
        logger.warn({ signal }, 'ends at once after a second signal')
        void supervisor.kill()
      },
    })
    try {
      await node.join()
      await supervisor.start()
      stopLogging = logReadiness(() => node.missing(), {
        logger,
        announce: () => announce(settled, url, logger),
      })
    } catch (error) {
      if (!isMailroomError(error, 'MR_DRAINING')) {
        await supervisor.kill()
        await node.close()
        logger.fatal(isMailroomError(error) ? { detail: error.message } : { err: error }, 'could not start')
        throw error
      }
    }
    await ended.promise
    await node.leave()
    logger.info('drained')
  } finally {
    await clusters?.close()
    data?.close()
  }
  exit(0)
}

/** The version of this package. */
function versionOf(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** The sources of `--sources`. @throws {MailroomError} `MR_CONFIG_INVALID` with all that is wrong in the file. */
function inboxOf({ sources, open, host, maxMessageBytes }: Config): Sources {
  if (sources === null) return {}
  const mayBeOpen = open || isLoopback(host)
  return readSources(sources, { env: environment(), maxMessageBytes, mayBeOpen })
}

/** Without a data directory of its own, a node begins with what the wall clock says. */
function timeKeeperOf(config: NodeConfig, logger: Logger): TimeKeeper {
  const { backend, data, dataIdentity, retentionMs, deadRetentionMs } = config
  const isEmbedded = backend === 'embedded'
  return new TimeKeeper({
    ...{ machine: thisMachine(), retentionMs: Math.max(retentionMs, deadRetentionMs ?? 0), logger },
    stored: isEmbedded ? readTime(data) : undefined,
    newest: isEmbedded ? newestTime(data) : undefined,
    store: isEmbedded ? timeStore(data, dataIdentity, logger) : () => true,
  })
}

/** Announces the node when it is ready; logs what it lacks for longer than `UNREADY_LOG_MS`, once until that changes. */
function logReadiness(
  missing: () => string[],
  { logger, announce }: { logger: Logger; announce: () => void },
): Cancel {
  let isAnnounced = false
  let readyAt = clock.monotonic()
  let logged = ''
  const check = () => {
    const lacking = missing().join('; ')
    if (lacking === '') {
      if (!isAnnounced) announce()
      else if (logged !== '') logger.info('Mailroom is ready again')
      isAnnounced = true
      readyAt = clock.monotonic()
      logged = ''
    } else if (lacking !== logged && clock.monotonic() > readyAt + UNREADY_LOG_MS) {
      logger.warn(`Mailroom is not ready: ${lacking}`)
      logged = lacking
    }
  }
  check()
  return clock.every(MISSING_CHECK_MS, check)
}

function announce(config: NodeConfig, url: string, logger: Logger): void {
  const actors = `${ROLES.map((role) => `${config.counts[role]} ${role}`).join(', ')} actors`
  const data = whereOf(config)
  const { node, lanes, counts, inbox } = config
  const forward = forwardOf(config)
  const names = Object.keys(inbox)
  const sources = names.length === 0 ? undefined : names
  if (counts.facade === 0) logger.info({ data, lanes, forward }, `Node ${node} is ready: ${actors}`)
  else logger.info({ url, data, lanes, sources, forward }, `Mailroom is ready on ${url}`)
  if (counts.facade === 0 || !outputOf(1).isTerminal) return
  const others = names.length > 1 ? ` and ${names.length - 1} more` : ''
  const lines = [
    `${url} takes messages: ${actors}`,
    `Data      ${data}`,
    ...(sources === undefined ? [] : [`Sources   ${url}/in/${names[0]}${others}`]),
    ...(forward === undefined ? [] : [`Forward   ${forward}`]),
    `Post      curl ${url}/messages -H 'Content-Type: text/plain' -d 'hello'`,
    `Read      curl ${url}/messages`,
    'Stop      Ctrl-C',
  ]
  outputOf(1).write(`\n${lines.map((line) => `  ${line}\n`).join('')}\n`)
}

/** Where the messages are forwarded to, for people: a query may be a secret. */
function forwardOf({ forward }: NodeConfig): string | undefined {
  if (forward === null) return undefined
  const { origin, pathname } = new URL(forward)
  return origin + pathname
}

/** Where the messages are kept, for people. */
function whereOf({ backend, data, hazelcastLogging, hazelcastQueue }: NodeConfig): string {
  if (backend === 'embedded') return data
  return `Hazelcast clusters ${hazelcastLogging.clusterName} and ${hazelcastQueue.clusterName}`
}

/**
 * Checks that the public port is free and replaces 0 by a free port, the same for every facade of the node. Checks
 * the internal port, too, so that a port in use is reported before any actor runs.
 */
async function publicPort({ counts, host, port, internalHost, internalPort }: Config): Promise<number> {
  if (internalPort !== null) await freePort('internal-', internalHost, internalPort)
  return counts.facade === 0 ? port : freePort('', host, port)
}

/** Waits for the workers of a primary that was killed a moment ago: they end by themselves. */
async function freePort(prefix: '' | 'internal-', host: string, port: number): Promise<number> {
  const endAt = clock.monotonic() + PORT_WAIT_MS
  for (;;) {
    const server = createServer().listen({ host, port })
    try {
      await once(server, 'listening')
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (code === 'EADDRINUSE' && clock.monotonic() < endAt) {
        await clock.sleep(PORT_CHECK_MS)
        continue
      }
      const where = `port ${port} of ${host}`
      const problem =
        code === 'EADDRINUSE'
          ? `Expected \`--${prefix}port\` to be free, but something listens on ${where} already`
          : `Expected \`--${prefix}host\` and \`--${prefix}port\` to be ours to listen on, got ${code} for ${where}`
      throw new MailroomError('MR_CONFIG_INVALID', { problems: [problem] }, { cause })
    }
    const address = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    return address.port
  }
}
