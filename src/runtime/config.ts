/**
 * The settings: one table of what there is, its default, how it is read and what it means. Flags, the
 * MAILROOM_* variables, `--help`, docs/config.md and the checks all come from it. The only door to
 * `process.env`.
 */
import { isIP } from 'node:net'
import type { Role } from './directory.ts'
import { MailroomError } from './errors.ts'
import { BATCH_MAX_COUNT } from './ids.ts'
import { nearest } from './nearest.ts'
import {
  duration,
  Expected,
  existingFile,
  MINUTE_MS,
  oneOf,
  type Parse,
  path,
  text,
  wholeNumber,
  yesNo,
} from './setting-values.ts'

/** The settings, validated and with defaults. JSON-safe: it crosses IPC. */
export interface Config {
  counts: Record<Role, number>
  host: string
  port: number
  backend: 'embedded'
  /** Absolute path of the data directory. */
  data: string
  /** Absolute path of the handler's ES module; null: messages are only stored. */
  handler: string | null
  handlerTimeoutMs: number
  handlerConcurrency: number
  /** Null: whatever the data directory was begun with, 16 for a new one. */
  lanes: number | null
  retentionMs: number
  token: string | null
  open: boolean
  mailboxCapacity: number
  logLevel: string
}

/** One setting. */
interface Setting<T> {
  /** As written on the command line when nothing is given; null: it has none. */
  fallback: string | null
  /** The shape of a value in docs/config.md; empty for a switch. */
  shape: string
  help: string
  /** The heading it stands under in `--help` and docs/config.md. */
  group: 'Actors' | 'Network' | 'Data' | 'Handler' | 'Logs'
  parse: Parse<T>
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
const MAX_ACTORS = 64
const ENV_PREFIX = 'MAILROOM_'

const actors = (role: Role, fallback: string): Setting<number> => ({
  fallback,
  shape: 'N',
  help: `${role} actors`,
  group: 'Actors',
  parse: wholeNumber(1, MAX_ACTORS),
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
    parse: text(/^[\x21-\x7e]{16,512}$/, '16 to 512 visible ASCII characters'),
  },
  open: {
    fallback: 'false',
    shape: '',
    help: 'listen beyond this machine without a token: anyone who reaches it may post, read and scale',
    group: 'Network',
    parse: yesNo,
  },
  backend: {
    fallback: 'embedded',
    shape: 'NAME',
    help: 'where messages are kept',
    group: 'Data',
    parse: oneOf(['embedded'] as const),
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
    help: 'lanes of a new data directory (16), the most messages actors there can be',
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

type Flag = keyof typeof SETTINGS

/** What only the client commands are told by the environment. */
const CLIENT_VARIABLES = ['MAILROOM_URL']
/** What yargs adds to the flags. */
const NOT_FLAGS = ['_', '$0', 'help', 'version']

/** The variable of a flag. */
export function variableOf(flag: string): string {
  return ENV_PREFIX + flag.toUpperCase().replaceAll('-', '_')
}

/** A variable of this process's environment; undefined when unset or empty. */
export function environmentOf(name: string): string | undefined {
  return process.env[name] || undefined
}

/**
 * Makes the configuration of flags, else variables, else defaults.
 *
 * @param given.flags As written on the command line; a flag given twice is an array, one that does not exist
 * is refused.
 * @throws {MailroomError} `MR_CONFIG_INVALID` naming every bad key at once.
 */
export function resolveConfig({
  flags,
  env = process.env,
  cwd = process.cwd(),
}: {
  flags: Partial<Record<string, unknown>>
  env?: Record<string, string | undefined>
  cwd?: string
}): Config {
  const problems = [...unknownFlags(flags), ...unknownVariables(env)]
  const read = <F extends Flag>(flag: F): ReturnType<(typeof SETTINGS)[F]['parse']> | null => {
    const { fallback, parse } = SETTINGS[flag] as Setting<unknown>
    const variable = variableOf(flag)
    const fromEnv = env[variable] || undefined
    const value = flags[flag] ?? fromEnv ?? fallback
    if (value === null) return null
    const name = flags[flag] === undefined && fromEnv !== undefined ? variable : `--${flag}`
    try {
      if (Array.isArray(value)) throw new Expected('given once')
      return parse(String(value), cwd) as never
    } catch (error) {
      if (!(error instanceof Expected)) throw error
      const got = Array.isArray(value) ? value.join(' and ') : String(value)
      problems.push(
        `Expected \`${name}\` to be ${error.message}, got ${flag === 'token' ? 'something else' : JSON.stringify(got)}`,
      )
      return null
    }
  }
  const config = {
    counts: { facade: read('facade')!, logging: read('logging')!, messages: read('messages')! },
    host: read('host')!,
    port: read('port')!,
    backend: read('backend')!,
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

/** True for an address that only this machine reaches. */
function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || host.toLowerCase() === 'localhost'
}

function contradictions({ counts, lanes, host, token, open }: Config): string[] {
  const problems: string[] = []
  if (lanes !== null && counts.messages > lanes) {
    problems.push(
      `Expected \`--messages\` to be at most \`--lanes\`, which is ${lanes}, got ${counts.messages}`,
    )
  }
  if (!isLoopback(host) && token === null && !open) {
    problems.push(
      `Expected \`--token\` to be given: ${host} can be reached from beyond this machine. To let anyone who reaches it post, read and scale, say \`--open\``,
    )
  }
  return problems
}

function unknownFlags(flags: Partial<Record<string, unknown>>): string[] {
  const known = Object.keys(SETTINGS)
  const unknown = Object.keys(flags).filter((flag) => !known.includes(flag) && !NOT_FLAGS.includes(flag))
  return unknown.map((flag) => `\`--${flag}\` is not a flag${didYouMean('--', flag, known)}`)
}

function unknownVariables(env: Record<string, string | undefined>): string[] {
  const known = [...Object.keys(SETTINGS).map(variableOf), ...CLIENT_VARIABLES]
  const unknown = Object.keys(env).filter((name) => name.startsWith(ENV_PREFIX) && !known.includes(name))
  return unknown.map((name) => `\`${name}\` is not a setting${didYouMean('', name, known)}`)
}

function didYouMean(prefix: string, word: string, known: readonly string[]): string {
  const near = nearest(word, known)
  return near === undefined ? '' : `; did you mean \`${prefix}${near}\`?`
}
