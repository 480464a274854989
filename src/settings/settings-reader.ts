/** Reads settings from flags, else variables, else defaults, and reports all problems at once. */
import { isIP } from 'node:net'
import { closestMatch } from 'leven'
import { z } from 'zod'
import { MailroomError } from '../runtime/errors.ts'
import { readSecret } from './secrets.ts'

/** What a schema says of one setting. */
export interface Setting {
  /** Its name in the configuration, such as `handlerTimeoutMs`. */
  key: string
  /** The default, as a user would write it. */
  fallback?: string
  takes: string
  group?: string
  help: string
  shape?: string
  isSecret?: boolean
  namesSecret?: boolean
}

/** What a command is started with. */
export interface Invocation {
  /** By name without dashes, as written; one given twice is an array. */
  flags: Partial<Record<string, unknown>>
  /** Words that are neither flags nor operands. */
  surplus?: readonly string[]
  env?: Record<string, string | undefined>
}

/** The settings of a schema, by flag: `handlerTimeoutMs` is set by `--handler-timeout`, `maxMessageBytes` by `--max-message`. */
export function settingsOf(schema: z.ZodObject): Record<string, Setting> {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'input' })
  return Object.fromEntries(
    Object.entries(properties).map(([key, property]) => {
      const { default: fallback, description: help, ...about } = property as z.core.JSONSchema.JSONSchema
      const flag = key.replace(/(Ms|Bytes)$/, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      return [flag, { key, fallback, help, ...about } as Setting]
    }),
  )
}

/** The environment of this process. */
export function environment(): Record<string, string | undefined> {
  return process.env
}

/** The variable of a flag. */
export function variableOf(flag: string): string {
  return `MAILROOM_${flag.toUpperCase().replaceAll('-', '_')}`
}

/**
 * Reads the settings a command has, by a schema of them.
 *
 * @param allFlags The flags of all commands: the variables of other commands may be set and mean nothing here.
 * @throws {MailroomError} `MR_CONFIG_INVALID` with every problem: flags, words and variables that do not exist,
 * values that are not what their setting takes, and, when each value is right, contradictions between them.
 */
export function readSettings<T>(
  schema: z.ZodType<T>,
  { flags, surplus = [], env = process.env }: Invocation,
  settings: Record<string, Setting>,
  allFlags: readonly string[],
): T {
  const ignored = serviceVariables(env)
  const input: Record<string, unknown> = {}
  /** By key: what is wrong if the schema refuses its value. */
  const problems = new Map<PropertyKey | undefined, string>()
  for (const [flag, { key, takes, isSecret, namesSecret }] of Object.entries(settings)) {
    const variable = variableOf(flag)
    const value = flags[flag] ?? (ignored.includes(variable) ? undefined : env[variable] || undefined)
    if (value === undefined) continue
    const isRepeated = Array.isArray(value)
    input[key] = isRepeated ? value : String(value)
    const name = flags[flag] === undefined ? variable : `--${flag}`
    if (namesSecret && !isRepeated) {
      const { secret, wrong } = readSecret(String(value), env)
      input[key] = secret ?? null
      if (wrong !== undefined) problems.set(key, `Expected \`${name}\` ${wrong}`)
      continue
    }
    const shown = isSecret
      ? 'something else'
      : JSON.stringify(isRepeated ? value.join(' and ') : String(value))
    problems.set(key, `Expected \`${name}\` to be ${isRepeated ? 'given once' : takes}, got ${shown}`)
  }
  const { data, error } = schema.safeParse(input)
  const known = Object.keys(settings)
  const variables = [...ignored, ...allFlags.map(variableOf)]
  const all = [
    ...Object.keys(flags)
      .filter((flag) => !known.includes(flag))
      .map((flag) => {
        const typed = flag.length === 1 ? `-${flag}` : `--${flag}`
        return `\`${typed}\` is not a flag of this command${didYouMean('--', flag, known)}`
      }),
    ...surplus.map((word) => `${JSON.stringify(word)} is one word too many: what has spaces goes in quotes`),
    ...Object.keys(env)
      .filter((name) => name.startsWith('MAILROOM_') && !variables.includes(name))
      .map((name) => `\`${name}\` is not a setting${didYouMean('', name, variables)}`),
    // A value with several errors, such as a list of addresses, is one problem.
    ...new Set(error?.issues.map(({ path: [key], message }) => problems.get(key) ?? message)),
  ]
  if (all.length > 0) throw invalidConfig(...all)
  return data!
}

const IP_PORT = /^(?:tcp|udp|sctp):\/\/(.+):(\d{1,5})$/
const PORT = /^\d{1,5}$/
/** The end of a variable's name -> true for a value that Kubernetes gives it. */
const SERVICE_VARIABLES: [end: RegExp, isOfService: (value: string) => boolean][] = [
  [/_PORT_\d+_(TCP|UDP|SCTP)_PROTO$/, (value) => /^(tcp|udp|sctp)$/.test(value)],
  [/_PORT_\d+_(TCP|UDP|SCTP)_PORT$/, (value) => PORT.test(value)],
  [/_PORT_\d+_(TCP|UDP|SCTP)_ADDR$/, (value) => isIP(value) !== 0],
  [/_SERVICE_HOST$/, (value) => isIP(value) !== 0],
  [/_SERVICE_PORT(_[A-Z0-9_]+)?$/, (value) => PORT.test(value)],
  [
    /_PORT(_\d+_(TCP|UDP|SCTP))?$/,
    (value) => isIP(IP_PORT.exec(value)?.[1]?.replace(/^\[(.*)\]$/, '$1') ?? '') !== 0,
  ],
]

/**
 * The variables that Kubernetes sets in each container for a Service named `mailroom` or `mailroom-…`, such as
 * `MAILROOM_PORT=tcp://10.96.0.12:8080`: names and values both have its form. They are no settings.
 */
export function serviceVariables(env: Record<string, string | undefined> = process.env): string[] {
  return Object.keys(env).filter((name) => {
    if (!/^MAILROOM_[A-Z0-9_]+$/.test(name)) return false
    return SERVICE_VARIABLES.some(([end, isOfService]) => end.test(name) && isOfService(env[name] ?? ''))
  })
}

/** The error of a command line or variables that are wrong. @param problems A sentence each. */
export function invalidConfig(...problems: string[]): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', { problems })
}

/** `; did you mean …?`, or nothing when no known word differs in at most two letters. */
export function didYouMean(prefix: string, word: string, known: readonly string[]): string {
  const near = closestMatch(word, known, { maxDistance: 2 })
  return near === undefined ? '' : `; did you mean \`${prefix}${near}\`?`
}
