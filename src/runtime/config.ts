/**
 * The settings: one table of what there is, its default, how it is read and what it means. Flags, the
 * MAILROOM_* variables, `--help`, docs/config.md and the checks all come from it. The only door to
 * `process.env`.
 */
import { existsSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { Role } from './directory.ts'
import { MailroomError } from './errors.ts'
import { BATCH_MAX_COUNT } from './ids.ts'

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

/** Reads one value. @throws {Expected} When it is not what the setting takes. */
type Parse<T> = (value: string, cwd: string) => T

/** One setting. */
interface Setting<T> {
  /** As written on the command line when nothing is given; null: it has none. */
  fallback: string | null
  /** The shape of a value in `--help`; empty for a switch. */
  shape: string
  help: string
  parse: Parse<T>
}

/** What was expected of a value, in words. */
class Expected extends Error {}

const MINUTE_MS = 60_000
const UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: MINUTE_MS,
  h: 60 * MINUTE_MS,
  d: 24 * 60 * MINUTE_MS,
}
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
const MAX_ACTORS = 64
const ENV_PREFIX = 'MAILROOM_'

const actors = (role: Role, fallback: string): Setting<number> => ({
  fallback,
  shape: 'N',
  help: `${role} actors`,
  parse: wholeNumber(1, MAX_ACTORS),
})

/** Every setting of `mailroom start`, by flag. */
export const SETTINGS = {
  facade: actors('facade', '1'),
  logging: actors('logging', '3'),
  messages: actors('messages', '2'),
  host: setting('127.0.0.1', 'ADDRESS', 'address to listen on', text(/^\S+$/, 'an address or host name')),
  port: setting('8080', 'PORT', 'port to listen on; 0 for any that is free', wholeNumber(0, 65_535)),
  backend: setting('embedded', 'NAME', 'where messages are kept', oneOf(['embedded'] as const)),
  data: setting('./data', 'DIRECTORY', 'data directory of the embedded backend', path),
  handler: setting(null, 'FILE', 'ES module whose default export is called for each message', existingFile),
  'handler-timeout': setting(
    '30s',
    'DURATION',
    'time one handler call may take',
    duration(1, 24 * 60 * MINUTE_MS),
  ),
  'handler-concurrency': setting(
    '1',
    'N',
    'handler calls at once in each messages actor',
    wholeNumber(1, 1000),
  ),
  lanes: setting(
    null,
    'N',
    'lanes of a new data directory, the most messages actors there can be (16)',
    wholeNumber(1, 256),
  ),
  retention: setting(
    '7d',
    'DURATION',
    'how long messages are kept',
    duration(MINUTE_MS, 3650 * 24 * 60 * MINUTE_MS),
  ),
  token: setting(
    null,
    'TOKEN',
    'secret that every call must carry as Authorization: Bearer',
    text(/^[\x21-\x7e]{16,512}$/, '16 to 512 visible ASCII characters'),
  ),
  open: setting(
    'false',
    '',
    'listen beyond this machine without a token: anyone who reaches it may post, read and scale',
    yesNo,
  ),
  'mailbox-capacity': setting(
    '10000',
    'N',
    'messages an actor takes in before it refuses',
    wholeNumber(BATCH_MAX_COUNT, 1_000_000),
  ),
  'log-level': setting('info', 'LEVEL', LOG_LEVELS.join(', '), oneOf(LOG_LEVELS)),
} satisfies Record<string, Setting<unknown>>

/** A flag's name, without dashes. */
export type Flag = keyof typeof SETTINGS

/** What the client commands are told by the environment. */
const CLIENT_VARIABLES = ['MAILROOM_URL', 'MAILROOM_TOKEN']

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
 * @param given.flags As written on the command line; a flag given twice is an array.
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
  const problems = unknownVariables(env)
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
        `Expected ${name} to be ${error.message}, got ${flag === 'token' ? 'something else' : JSON.stringify(got)}`,
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
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || host === 'localhost'
}

function contradictions({ counts, lanes, host, token, open }: Config): string[] {
  const problems: string[] = []
  if (lanes !== null && counts.messages > lanes) {
    problems.push(`Expected --messages to be at most --lanes, which is ${lanes}, got ${counts.messages}`)
  }
  if (!isLoopback(host) && token === null && !open) {
    problems.push(
      `Expected --token to be given: ${host} can be reached from beyond this machine. To let anyone who reaches it post, read and scale, say --open`,
    )
  }
  return problems
}

function unknownVariables(env: Record<string, string | undefined>): string[] {
  const known = [...Object.keys(SETTINGS).map(variableOf), ...CLIENT_VARIABLES]
  return Object.keys(env)
    .filter((name) => name.startsWith(ENV_PREFIX) && !known.includes(name))
    .map((name) => {
      const near = nearest(name, known)
      return `${name} is not a setting${near === undefined ? '' : `; did you mean ${near}?`}`
    })
}

/** The word of `known` that differs from `word` in at most two letters. */
function nearest(word: string, known: readonly string[]): string | undefined {
  const [best] = known.map((name) => ({ name, far: distance(word, name) })).sort((a, b) => a.far - b.far)
  return best !== undefined && best.far <= 2 ? best.name : undefined
}

/** Letters to change, insert or remove (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}

function setting<T>(fallback: string | null, shape: string, help: string, parse: Parse<T>): Setting<T> {
  return { fallback, shape, help, parse }
}

function wholeNumber(min: number, max: number): Parse<number> {
  return (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
    if (number >= min && number <= max) return number
    throw new Expected(`a whole number from ${min} to ${max}`)
  }
}

function duration(minMs: number, maxMs: number): Parse<number> {
  return (value) => {
    const [, number, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(value) ?? []
    const ms = Number(number) * (UNITS[unit] ?? Number.NaN)
    if (ms >= minMs && ms <= maxMs) return ms
    throw new Expected(
      `a duration from ${inWords(minMs)} to ${inWords(maxMs)}, such as 30s (units: ms, s, m, h, d)`,
    )
  }
}

function inWords(ms: number): string {
  const [unit, size] = Object.entries(UNITS).findLast(([, of]) => ms % of === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}

function oneOf<const T extends string>(words: readonly T[]): Parse<T> {
  return (value) => {
    const word = words.find((one) => one === value)
    if (word !== undefined) return word
    throw new Expected(words.length === 1 ? `${words[0]} (the only one yet)` : `one of ${words.join(', ')}`)
  }
}

function text(pattern: RegExp, words: string): Parse<string> {
  return (value) => {
    if (pattern.test(value)) return value
    throw new Expected(words)
  }
}

function yesNo(value: string): boolean {
  if (value === 'true' || value === '1') return true
  if (value === 'false' || value === '0') return false
  throw new Expected('true or false')
}

function path(value: string, cwd: string): string {
  if (value !== '') return resolve(cwd, value)
  throw new Expected('a path')
}

function existingFile(value: string, cwd: string): string {
  const absolute = resolve(cwd, value)
  if (existsSync(absolute) && statSync(absolute).isFile()) return absolute
  throw new Expected('a file that exists')
}
