/**
 * The settings of a node and those of the client commands, as two schemas: flags, MAILROOM_* variables, `--help`,
 * docs/config.md, defaults and checks all come from them. `handlerTimeoutMs` is set by `--handler-timeout` or
 * MAILROOM_HANDLER_TIMEOUT.
 */
import { hostname } from 'node:os'
import { z } from 'zod'
import type { Sources } from '../inbox/source.ts'
import { MAX_ACTORS, ROLES, type Role } from '../runtime/cluster/directory.ts'
import {
  GROUP_NAME,
  GROUP_NAME_WORDS,
  REASON_MAX_CHARACTERS,
  SOURCE_NAME,
  SOURCE_NAME_WORDS,
} from '../storage/dead-filter.ts'
import {
  BATCH_MAX_COUNT,
  DEFAULT_LANES,
  MESSAGE_MAX_BYTES,
  MESSAGE_MAX_HAZELCAST_BYTES,
} from '../storage/limits.ts'
import {
  address,
  apiUrl,
  cluster,
  directory,
  duration,
  existingFile,
  hostNames,
  hostPorts,
  inputFile,
  isLoopback,
  messageId,
  oneOf,
  optional,
  port,
  secret,
  signingSecret,
  size,
  targetUrl,
  text,
  wholeNumber,
  yesNo,
} from './setting-values.ts'
import { type Invocation, readSettings, type Setting, settingsOf } from './settings-reader.ts'

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
const MiB = 1024 * 1024
const NODE_NAME = /^[A-Za-z0-9._-]{1,253}$/
/** As `GET /events` takes them; it says by name what it does not know. */
const TOPIC_LIST = /^[a-z]+(,[a-z]+)*$/
const CURSOR = /^[0-9a-z-]{1,64}$/
const REASON = new RegExp(`^.{1,${REASON_MAX_CHARACTERS}}$`, 's')
const BASE_PATH = /^(\/[\w.~-]{1,100}){1,10}$/
const BASE_PATH_WORDS = 'a path without a slash at its end, such as /mailroom'
const NODE_NAME_WORDS = '1 to 253 letters, digits, dots, dashes and underscores'

const actors = (role: Role, count: string) =>
  wholeNumber(0, MAX_ACTORS).prefault(count).describe(`${role} actors; 0 when other nodes host them`)

/** Settings under a heading of `--help` and docs/config.md. */
function under<T extends Record<string, z.ZodType>>(group: string, settings: T): T {
  const grouped = Object.entries(settings).map(([key, one]) => [key, one.meta({ ...one.meta(), group })])
  return Object.fromEntries(grouped) as T
}

/** The settings of `mailroom start`, in the order of `--help`. */
const nodeSchema = z.object({
  ...under('Actors', {
    facade: actors('facade', '1'),
    logging: actors('logging', '3'),
    messages: actors('messages', '2'),
    mailboxCapacity: wholeNumber(BATCH_MAX_COUNT, 1_000_000)
      .prefault('10000')
      .describe('messages a mailbox holds before it refuses more'),
  }),
  ...under('Network', {
    host: address.prefault('127.0.0.1').describe('address to listen on'),
    port: port(0).prefault('8080').describe('port to listen on; 0 for any free port'),
    keepAliveMs: duration('1s', '1h')
      .prefault('95s')
      .describe('how long a connection of a client may be idle'),
    /** Null: none. */
    basePath: optional(text(BASE_PATH, BASE_PATH_WORDS, '/PATH')).describe(
      'path that a proxy leaves before every path; calls are answered with and without it',
    ),
    token: secret('TOKEN').describe('secret that allows every call, sent as Authorization: Bearer'),
    readToken: secret('TOKEN').describe('secret that allows every read, and nothing else; needs --token'),
    postToken: secret('TOKEN').describe('secret that allows POST /messages, and nothing else; needs --token'),
    open: yesNo.describe(
      'listen beyond this machine without a token: anyone who reaches it may post, read, scale',
    ),
    /** Null: addresses, localhost, this machine's name and `host`; with a token any. */
    allowedHosts: optional(hostNames).describe(
      'names that requests may give as Host, beside addresses, localhost and the name of this machine',
    ),
  }),
  ...under('Inbox', {
    /** Absolute. Null: there are no sources. */
    sources: optional(existingFile).describe(
      'JSON file of the sources that post to /in/SOURCE, such as webhooks; read again at `mailroom restart facade`',
    ),
  }),
  ...under('Several nodes', {
    peers: optional(hostPorts).describe(
      'the nodes of the system; a name with several addresses stands for several nodes',
    ),
    node: optional(text(NODE_NAME, NODE_NAME_WORDS, 'NAME')).describe(
      'name of this node [the host name]; each node has its own',
    ),
    /** Where the internal servers listen: the node's own and those of its actors. */
    internalHost: address
      .prefault('127.0.0.1')
      .describe('address where this node and its actors listen for other nodes'),
    internalPort: optional(port(1)).describe(
      'port where this node reports its actors and its health to other nodes',
    ),
    secret: secret('SECRET').describe(
      'secret that nodes and actors authenticate with, the same on all nodes [a new one at every start]',
    ),
  }),
  ...under('Data', {
    backend: oneOf(['embedded', 'hazelcast'], 'NAME')
      .prefault('embedded')
      .describe('where messages are kept: embedded (in --data, one node) or hazelcast (two clusters)'),
    hazelcastLogging: cluster.prefault('logging@127.0.0.1:5701').describe('cluster of the log'),
    hazelcastQueue: cluster.prefault('queue@127.0.0.1:5702').describe('cluster of the queue'),
    data: directory
      .prefault('./data')
      .describe('data directory: the messages (embedded), or what is known of the clusters (hazelcast)'),
    /** Null: `on` with the Hazelcast backend. */
    journal: optional(oneOf(['on', 'off'], 'WORD')).describe(
      'keep what is acknowledged in --data, too [on with hazelcast]',
    ),
    /** Null: those of the data directory or cluster, `DEFAULT_LANES` for a new one. */
    lanes: optional(wholeNumber(1, 256)).describe(
      'lanes of a new data directory or cluster (16), the most messages actors there can be',
    ),
    retentionMs: duration('1m', '3650d').prefault('7d').describe('how long messages are kept'),
    /** Null: that of the backend. */
    keyRetentionMs: optional(duration('1m', '3650d')).describe(
      'how long a repeat of a message is known by its key [3d; 24h on hazelcast, where keys take memory]',
    ),
    /** Null: for ever. */
    deadRetentionMs: optional(duration('1m', '3650d')).describe(
      'how long dead letters are kept, from their death on [for ever]',
    ),
    maxMessageBytes: size('1KiB', `${MESSAGE_MAX_BYTES / MiB}MiB`)
      .prefault('1MiB')
      .describe('the largest text, or body, of a message; on Hazelcast up to 1MiB'),
  }),
  ...under('Handler', {
    /** Null: messages are stored only. */
    handler: optional(existingFile).describe('ES module whose default export is called for each message'),
    handlerTimeoutMs: duration('1ms', '1d').prefault('30s').describe('time one handler call may take'),
    handlerConcurrency: wholeNumber(1, 1000)
      .prefault('8')
      .describe('concurrent handler calls in each messages actor'),
    attempts: wholeNumber(1, 1000)
      .prefault('24')
      .describe('attempts before a message is a dead letter; an outage and a drain use none'),
    retryMinMs: duration('1ms', '30d')
      .prefault('1s')
      .describe('pause after the first failed attempt, up to a half shorter; it doubles with each'),
    retryMaxMs: duration('1ms', '30d')
      .prefault('1h')
      .describe('the longest pause before an attempt, also when the handler asks for one'),
  }),
  ...under('Forward', {
    /** Null: messages are not forwarded. */
    forward: optional(targetUrl).describe('URL that each message is posted to, as it came'),
    forwardSecret: signingSecret.describe('env:NAME or file:PATH of a secret that signs what is forwarded'),
  }),
  ...under('Logs', {
    logLevel: oneOf(LOG_LEVELS, 'LEVEL').prefault('info').describe(LOG_LEVELS.join(', ')),
    json: yesNo.describe('log lines as JSON on a terminal, too'),
  }),
})

/** Every setting of `mailroom start`, by flag. */
export const SETTINGS: Record<string, Setting> = settingsOf(nodeSchema)

const configSchema = nodeSchema
  .transform(({ facade, logging, messages, ...rest }) => ({
    ...rest,
    counts: { facade, logging, messages },
    /** Empty: this node is the whole system. */
    peers: rest.peers ?? [],
    node: rest.node ?? hostname(),
  }))
  .superRefine((config, context) => {
    for (const message of contradictions(config)) context.addIssue({ code: 'custom', message })
  })

/** The settings of a node, validated and with defaults. It crosses IPC as JSON. */
export type Config = z.output<typeof configSchema>

/**
 * The configuration of a running node: its number of lanes is known, and what tells its data directory from another
 * that gets the path.
 */
export type NodeConfig = Config & {
  lanes: number
  dataIdentity?: string | undefined
  /** The sources of `--sources`, with their secrets. */
  inbox: Sources
}

/** The settings of the client commands. */
const clientSchema = z.object({
  url: apiUrl.prefault('http://127.0.0.1:8080').describe('URL of the node'),
  token: secret('TOKEN', 1).describe(
    'a token of the node whose role allows the command; better in MAILROOM_TOKEN, which other users of the machine cannot see',
  ),
  json: yesNo.describe('print JSON, for scripts'),
  watch: yesNo.describe('repeat every second, with rates, until q or Ctrl-C'),
  waitMs: duration('0s', '1d')
    .prefault('0s')
    .describe('how long to ask again while the clusters are not safe'),
  file: optional(inputFile).describe('send a file, one message a line, byte for byte; - for standard input'),
  whole: yesNo.describe('send the whole input as one message'),
  skipEmpty: yesNo.describe('skip empty lines, which are no messages'),
  ids: yesNo.describe('print the id of each message'),
  timeoutMs: duration('0s', '1d')
    .prefault('60s')
    .describe('how long to retry while the node is unreachable or overloaded'),
  all: yesNo.describe('all dead letters, or all that --source, --reason and --group leave'),
  source: optional(text(SOURCE_NAME, SOURCE_NAME_WORDS, 'NAME')).describe(
    'only dead letters of messages that this source took in',
  ),
  reason: optional(text(REASON, `1 to ${REASON_MAX_CHARACTERS} characters`, 'TEXT')).describe(
    'only dead letters whose reason begins with this text',
  ),
  group: optional(text(GROUP_NAME, GROUP_NAME_WORDS, 'GROUP')).describe(
    'only dead letters of this group, as `mailroom dead groups` prints it',
  ),
  yes: yesNo.describe('delete without asking'),
  confirm: yesNo.describe('confirm the losses: no node reports them any more'),
  only: optional(text(TOPIC_LIST, 'names with commas between them', 'LIST')).describe(
    'only these: some of logged, delivered, dead, actor, stats, with commas between them',
  ),
  after: optional(text(CURSOR, 'a cursor of GET /events', 'CURSOR')).describe(
    'first what has happened since this cursor, the id of an event',
  ),
  since: optional(messageId).describe('only messages younger than this one'),
  sources: optional(existingFile).describe('the file of sources that the node was started with'),
})

/** The settings of a client command, validated and with defaults. `file` is absolute, or `-` for standard input. */
export type ClientConfig = z.output<typeof clientSchema>

/** Every setting of the client commands, by flag. */
export const CLIENT_SETTINGS: Record<string, Setting> = settingsOf(clientSchema)

const ALL_FLAGS = Object.keys({ ...SETTINGS, ...CLIENT_SETTINGS })

/** Reads the settings of a node. @throws {MailroomError} As `readSettings` does. */
export function resolveConfig(invocation: Invocation): Config {
  return readSettings(configSchema, invocation, SETTINGS, ALL_FLAGS)
}

/**
 * Reads the settings of a client command. @throws {MailroomError} As `readSettings` does.
 *
 * @param own The flags this command has; the other settings stay at their defaults.
 */
export function resolveClientConfig(invocation: Invocation, own: readonly string[]): ClientConfig {
  const settings = Object.fromEntries(own.map((flag) => [flag, CLIENT_SETTINGS[flag]!]))
  return readSettings(clientSchema, invocation, settings, ALL_FLAGS)
}

/** True when the actors of a node keep a journal of what they write to the clusters. */
export function isJournaled({ backend, journal }: Pick<Config, 'backend' | 'journal'>): boolean {
  return backend === 'hazelcast' && journal !== 'off'
}

/** True when the system may have other nodes. The names of actors then carry the name of their node. */
export function isOneOfSeveral({ peers }: Pick<Config, 'peers'>): boolean {
  return peers.length > 0
}

/** True for a URL that leads to this node's own port. */
function isOwn(url: string, { host, port }: Pick<Config, 'host' | 'port'>): boolean {
  const target = new URL(url)
  const targetPort = Number(target.port) || (target.protocol === 'https:' ? 443 : 80)
  const name = target.hostname.replace(/^\[(.*)\]$/, '$1')
  return targetPort === port && (name === host || isLoopback(name))
}

function* wrongTokens({ token, readToken, postToken }: Config): Generator<string> {
  const flags = [
    ['--token', token],
    ['--read-token', readToken],
    ['--post-token', postToken],
  ] as const
  const given = flags.filter(([, one]) => one !== null)
  if (token === null && given.length > 0) {
    const [flag] = given[0]!
    yield `Expected \`--token\` to be given with \`${flag}\`: nobody could scale, restart or change anything without it`
  }
  for (const [index, [flag, one]] of given.entries()) {
    const same = given.slice(0, index).find(([, other]) => other === one)
    if (same !== undefined)
      yield `Expected \`${flag}\` to be another than \`${same[0]}\`: a token gives one role`
  }
}

function* contradictions(config: Config): Generator<string> {
  if (config.forward !== null && config.handler !== null) {
    yield 'Expected `--forward` or `--handler`, got both: a message is forwarded or handled'
  }
  if (config.forward !== null && config.counts.facade > 0 && isOwn(config.forward, config)) {
    yield 'Expected `--forward` to be another server, got this node itself: every message would come back as a new one'
  }
  if (config.forwardSecret !== null && config.forward === null) {
    yield 'Expected `--forward` to be given with `--forward-secret`: nothing else is signed'
  }
  const { counts, backend, host, token, open, internalHost, internalPort, secret } = config
  const { retryMinMs, retryMaxMs } = config
  const lanes = config.lanes ?? (backend === 'hazelcast' ? DEFAULT_LANES : null)
  if (lanes !== null && counts.messages > lanes) {
    yield `Expected \`--messages\` to be at most \`--lanes\`, which is ${lanes}, got ${counts.messages}`
  }
  if (counts.facade > 0 && !isLoopback(host) && token === null && !open) {
    yield `Expected \`--token\` to be given: ${host} can be reached from beyond this machine. To let anyone who reaches it post, read and scale, say \`--open\``
  }
  yield* wrongTokens(config)
  if (retryMinMs > retryMaxMs) {
    yield `Expected \`--retry-min\` to be at most \`--retry-max\`, which is ${retryMaxMs} ms, got ${retryMinMs} ms`
  }
  const several = isOneOfSeveral(config)
  const absent = ROLES.filter((role) => counts[role] === 0)
  if (absent.length === ROLES.length) {
    yield 'Expected one of `--facade`, `--logging` and `--messages` to be 1 at least, got 0 for all'
  } else if (!several) {
    const needs = backend === 'embedded' ? 'with the embedded backend' : 'without `--peers`'
    for (const role of absent) yield `Expected \`--${role}\` to be 1 at least ${needs}, got 0`
  }
  const { maxMessageBytes } = config
  if (backend === 'hazelcast' && maxMessageBytes > MESSAGE_MAX_HAZELCAST_BYTES) {
    const most = `${MESSAGE_MAX_HAZELCAST_BYTES / MiB}MiB`
    yield `Expected \`--max-message\` to be at most ${most} with the Hazelcast backend, got ${maxMessageBytes} bytes`
  }
  if (backend === 'embedded' && config.journal === 'on') {
    yield 'Expected `--journal` not to be on with the embedded backend, which keeps everything in `--data`'
  }
  if (several && backend === 'embedded') {
    yield 'Expected `--peers` not to be given with the embedded backend, which is one node'
  }
  if (several && internalPort === null) {
    yield 'Expected `--internal-port` to be given with `--peers`: other nodes connect to this one there'
  }
  if (secret === null && (several || !isLoopback(internalHost))) {
    yield `Expected \`--secret\` to be given ${several ? 'with `--peers`' : `as \`--internal-host\` is ${internalHost}`}`
  }
}
