/**
 * The settings: one table of what there is, its default, how it is read and what it means. Flags, the
 * MAILROOM_* variables, `--help`, docs/config.md and the checks all come from it. The only door to
 * `process.env`.
 */

import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { type HostPort, ROLES, type Role } from '../runtime/cluster/directory.ts'
import { MailroomError } from '../runtime/errors.ts'
import { BATCH_MAX_COUNT, DEFAULT_LANES } from '../storage/limits.ts'
import { CLIENT_SETTINGS, type ClientConfig, type ClientFlag } from './client-settings.ts'
import {
  type ClusterAddress,
  cluster,
  duration,
  existingFile,
  hostPorts,
  MINUTE_MS,
  oneOf,
  path,
  text,
  wholeNumber,
  yesNo,
} from './setting-values.ts'
import { type Given, type Setting, settingsReader } from './settings-reader.ts'

/** The settings, validated and with defaults. JSON-safe: it crosses IPC. */
export interface Config {
  /** Actors of each role on this node; 0: others have them. */
  counts: Record<Role, number>
  host: string
  port: number
  /** The other nodes of the system, by where their internal servers listen; none: this node is all there is. */
  peers: HostPort[]
  /** The name of this node. */
  node: string
  /** Where the internal servers listen: the node's own and its actors'. */
  internalHost: string
  /** Port of the node's own internal server; null: it has none. */
  internalPort: number | null
  /** What the internal servers ask of their callers, the same on all nodes; null: a new one at every start. */
  secret: string | null
  backend: 'embedded' | 'hazelcast'
  hazelcastLogging: ClusterAddress
  hazelcastQueue: ClusterAddress
  /** Absolute path of the data directory. */
  data: string
  /** Absolute path of the handler's ES module; null: messages are only stored. */
  handler: string | null
  handlerTimeoutMs: number
  handlerConcurrency: number
  /** Null: whatever the data directory or the cluster was begun with, 16 for a new one. */
  lanes: number | null
  retentionMs: number
  token: string | null
  open: boolean
  mailboxCapacity: number
  logLevel: string
}

/** The configuration of a running node: its number of lanes is known. JSON-safe: it crosses IPC. */
export type NodeConfig = Config & { lanes: number }

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
/** The most actors of one role on a node. */
export const MAX_ACTORS = 64
const SECRET = text(/^[\x21-\x7e]{16,512}$/, '16 to 512 visible ASCII characters')

const actors = (role: Role, fallback: string): Setting<number> => ({
  fallback,
  shape: 'N',
  help: `${role} actors; 0 when other nodes have them`,
  group: 'Actors',
  parse: wholeNumber(0, MAX_ACTORS),
})

/** Every setting of `mailroom start`, by flag. */
export const SETTINGS = {
  facade: actors('facade', '1'),
  logging: actors('logging', '3'),
  messages: actors('messages', '2'),
  'mailbox-capacity': {
    fallback: '10000',
    shape: 'N',
    help: 'messages an actor takes in before it refuses',
    group: 'Actors',
    parse: wholeNumber(BATCH_MAX_COUNT, 1_000_000),
  },
  host: {
    fallback: '127.0.0.1',
    shape: 'ADDRESS',
    help: 'address to listen on',
    group: 'Network',
    parse: text(/^\S+$/, 'an address or host name'),
  },
  port: {
    fallback: '8080',
    shape: 'PORT',
    help: 'port to listen on; 0 for any that is free',
    group: 'Network',
    parse: wholeNumber(0, 65_535),
  },
  token: {
    fallback: null,
    shape: 'TOKEN',
    help: 'secret that every call must carry as Authorization: Bearer',
    group: 'Network',
    parse: SECRET,
  },
  open: {
    fallback: 'false',
    shape: '',
    help: 'listen beyond this machine without a token: anyone who reaches it may post, read and scale',
    group: 'Network',
    parse: yesNo,
  },
  peers: {
    fallback: null,
    shape: 'HOST:PORT,…',
    help: 'the nodes of the system; a name with several addresses is several nodes',
    group: 'Several nodes',
    parse: hostPorts,
  },
  node: {
    fallback: null,
    shape: 'NAME',
    help: 'name of this node [the host name]; each node has its own',
    group: 'Several nodes',
    parse: text(/^[A-Za-z0-9._-]{1,253}$/, '1 to 253 letters, digits, dots, dashes and underscores'),
  },
  'internal-host': {
    fallback: '127.0.0.1',
    shape: 'ADDRESS',
    help: 'address where nodes and their actors listen to one another',
    group: 'Several nodes',
    parse: text(/^\S+$/, 'an address or host name'),
  },
  'internal-port': {
    fallback: null,
    shape: 'PORT',
    help: 'port where this node tells others of its actors, and its own health',
    group: 'Several nodes',
    parse: wholeNumber(1, 65_535),
  },
  secret: {
    fallback: null,
    shape: 'SECRET',
    help: 'what nodes and their actors know one another by, the same on all nodes [a new one at every start]',
    group: 'Several nodes',
    parse: SECRET,
  },
  backend: {
    fallback: 'embedded',
    shape: 'NAME',
    help: 'where messages are kept: embedded (in --data, one node) or hazelcast (two clusters)',
    group: 'Data',
    parse: oneOf(['embedded', 'hazelcast'] as const),
  },
  'hazelcast-logging': {
    fallback: 'logging@127.0.0.1:5701',
    shape: 'NAME@HOST:PORT,…',
    help: 'cluster of the log',
    group: 'Data',
    parse: cluster,
  },
  'hazelcast-queue': {
    fallback: 'queue@127.0.0.1:5702',
    shape: 'NAME@HOST:PORT,…',
    help: 'cluster of the queue',
    group: 'Data',
    parse: cluster,
  },
  data: {
    fallback: './data',
    shape: 'DIRECTORY',
    help: 'data directory of the embedded backend',
    group: 'Data',
    parse: path,
  },
  lanes: {
    fallback: null,
    shape: 'N',
    help: 'lanes of a new data directory or cluster (16), the most messages actors there can be',
    group: 'Data',
    parse: wholeNumber(1, 256),
  },
  retention: {
    fallback: '7d',
    shape: 'DURATION',
    help: 'how long messages are kept',
    group: 'Data',
    parse: duration(MINUTE_MS, 3650 * 24 * 60 * MINUTE_MS),
  },
  handler: {
    fallback: null,
    shape: 'FILE',
    help: 'ES module whose default export is called for each message',
    group: 'Handler',
    parse: existingFile,
  },
  'handler-timeout': {
    fallback: '30s',
    shape: 'DURATION',
    help: 'time one handler call may take',
    group: 'Handler',
    parse: duration(1, 24 * 60 * MINUTE_MS),
  },
  'handler-concurrency': {
    fallback: '1',
    shape: 'N',
    help: 'handler calls at once in each messages actor',
    group: 'Handler',
    parse: wholeNumber(1, 1000),
  },
  'log-level': {
    fallback: 'info',
    shape: 'LEVEL',
    help: LOG_LEVELS.join(', '),
    group: 'Logs',
    parse: oneOf(LOG_LEVELS),
  },
} satisfies Record<string, Setting<unknown>>

/**
 * Makes the configuration of flags, else variables, else defaults.
 *
 * @param given.flags As written on the command line; a flag given twice is an array, one that does not exist
 * is refused.
 * @throws {MailroomError} `MR_CONFIG_INVALID` naming every bad key at once.
 */
export function resolveConfig({
  env = process.env,
  cwd = process.cwd(),
  ...given
}: Partial<Given> & Pick<Given, 'flags'>): Config {
  const { read, problems } = settingsReader(SETTINGS, { env, cwd, ...given }, Object.keys(CLIENT_SETTINGS))
  const config = {
    counts: { facade: read('facade')!, logging: read('logging')!, messages: read('messages')! },
    host: read('host')!,
    port: read('port')!,
    peers: read('peers') ?? [],
    node: read('node') ?? hostname(),
    internalHost: read('internal-host')!,
    internalPort: read('internal-port'),
    secret: read('secret'),
    backend: read('backend')!,
    hazelcastLogging: read('hazelcast-logging')!,
    hazelcastQueue: read('hazelcast-queue')!,
    data: read('data')!,
    handler: read('handler'),
    handlerTimeoutMs: read('handler-timeout')!,
    handlerConcurrency: read('handler-concurrency')!,
    lanes: read('lanes'),
    retentionMs: read('retention')!,
    token: read('token'),
    open: read('open')!,
    mailboxCapacity: read('mailbox-capacity')!,
    logLevel: read('log-level')!,
  }
  if (problems.length === 0) problems.push(...contradictions(config))
  if (problems.length > 0) throw new MailroomError('MR_CONFIG_INVALID', { problems })
  return config
}

/**
 * As `resolveConfig`, for a command that speaks to a node.
 *
 * @param own The flags this command has; the others stay at their defaults.
 */
export function resolveClientConfig(
  { env = process.env, cwd = process.cwd(), ...given }: Partial<Given> & Pick<Given, 'flags'>,
  own: readonly ClientFlag[],
): ClientConfig {
  const table = Object.fromEntries(own.map((flag) => [flag, CLIENT_SETTINGS[flag]])) as typeof CLIENT_SETTINGS
  const others = [...Object.keys(CLIENT_SETTINGS), ...Object.keys(SETTINGS)]
  const { read, problems } = settingsReader(table, { env, cwd, ...given }, others)
  const isSet = (flag: ClientFlag) => own.includes(flag) && read(flag) === true
  const config = {
    url: read('url')!,
    token: read('token'),
    json: isSet('json'),
    watch: isSet('watch'),
    file: own.includes('file') ? read('file') : null,
    whole: isSet('whole'),
    skipEmpty: isSet('skip-empty'),
    ids: isSet('ids'),
    timeoutMs: own.includes('timeout') ? read('timeout')! : 0,
    all: isSet('all'),
    since: own.includes('since') ? read('since') : null,
  }
  if (problems.length > 0) throw new MailroomError('MR_CONFIG_INVALID', { problems })
  return config
}

/** True for an address that only this machine reaches. */
function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || host.toLowerCase() === 'localhost'
}

/** True when other nodes may belong to the system: then names of actors carry their node's. */
export function isOneOfSeveral({ peers }: Pick<Config, 'peers'>): boolean {
  return peers.length > 0
}

function contradictions(config: Config): string[] {
  const { counts, backend, host, token, open } = config
  const problems: string[] = []
  const lanes = backend === 'hazelcast' ? (config.lanes ?? DEFAULT_LANES) : config.lanes
  if (lanes !== null && counts.messages > lanes) {
    problems.push(
      `Expected \`--messages\` to be at most \`--lanes\`, which is ${lanes}, got ${counts.messages}`,
    )
  }
  if (counts.facade > 0 && !isLoopback(host) && token === null && !open) {
    problems.push(
      `Expected \`--token\` to be given: ${host} can be reached from beyond this machine. To let anyone who reaches it post, read and scale, say \`--open\``,
    )
  }
  return [...problems, ...contradictionsOfNodes(config)]
}

function contradictionsOfNodes(config: Config): string[] {
  const { counts, backend, internalHost, internalPort, secret } = config
  const several = isOneOfSeveral(config)
  const absent = ROLES.filter((role) => counts[role] === 0)
  const problems: string[] = []
  if (absent.length === ROLES.length) {
    problems.push('Expected one of `--facade`, `--logging` and `--messages` to be 1 at least, got 0 for all')
  } else if (!several) {
    const needs = backend === 'embedded' ? 'with the embedded backend' : 'without `--peers`'
    for (const role of absent) problems.push(`Expected \`--${role}\` to be 1 at least ${needs}, got 0`)
  }
  if (several && backend === 'embedded') {
    problems.push('Expected `--peers` not to be given with the embedded backend, which is one node')
  }
  if (several && internalPort === null) {
    problems.push('Expected `--internal-port` to be given with `--peers`: other nodes ask this one there')
  }
  if (secret === null && (several || !isLoopback(internalHost))) {
    const why = several ? 'with `--peers`' : `as \`--internal-host\` is ${internalHost}`
    problems.push(`Expected \`--secret\` to be given ${why}`)
  }
  return problems
}
