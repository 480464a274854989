/** Reads settings from flags, else variables, else defaults, and finds all that is wrong with them. */
import { nearest } from './nearest.ts'
import { Expected, type Parse } from './setting-values.ts'

/** One setting. */
export interface Setting<T> {
  /** As written on the command line when nothing is given; null: it has none. */
  fallback: string | null
  /** The shape of a value in docs/config.md; empty for a switch. */
  shape: string
  help: string
  /** The heading it stands under in `--help` and docs/config.md. */
  group: 'Actors' | 'Network' | 'Several nodes' | 'Data' | 'Handler' | 'Logs' | 'Options'
  parse: Parse<T>
}

/** Settings, by flag. */
export type Settings = Record<string, Setting<unknown>>

/** What was given. */
export interface Given {
  /** By name without dashes, as written; one given twice is an array. */
  flags: Partial<Record<string, unknown>>
  env: Record<string, string | undefined>
  /** What paths are relative to. */
  cwd: string
  /** Words that mean nothing to the command. */
  surplus?: readonly string[]
}

const ENV_PREFIX = 'MAILROOM_'
/** Settings whose value is never shown. */
const SECRETS = new Set(['token', 'secret'])

/** The variable of a flag. */
export function variableOf(flag: string): string {
  return ENV_PREFIX + flag.toUpperCase().replaceAll('-', '_')
}

/**
 * A reader of a table of settings.
 *
 * @param others Flags of other commands: their variables may be set, without a meaning here.
 * @returns `read` gives the value of a flag, null when it has none or a bad one; `problems` grows by what is
 * wrong with what was read. It begins with the flags, words and variables that do not exist.
 */
export function settingsReader<S extends Settings>(
  settings: S,
  { flags, env, cwd, surplus = [] }: Given,
  others: readonly string[],
): { read: <F extends keyof S>(flag: F) => ReturnType<S[F]['parse']> | null; problems: string[] } {
  const known = Object.keys(settings)
  const problems = [
    ...unknownFlags(flags, known),
    ...surplus.map((word) => `${JSON.stringify(word)} is one word too many: what has spaces goes in quotes`),
    ...unknownVariables(env, [...known, ...others].map(variableOf)),
  ]
  const read = <F extends keyof S>(flag: F) => {
    const { fallback, parse } = settings[flag]!
    const variable = variableOf(flag as string)
    const fromEnv = env[variable] || undefined
    const value = flags[flag as string] ?? fromEnv ?? fallback
    if (value === null) return null
    const name = flags[flag as string] === undefined && fromEnv !== undefined ? variable : `--${String(flag)}`
    try {
      if (Array.isArray(value)) throw new Expected('given once')
      return parse(String(value), cwd) as never
    } catch (error) {
      if (!(error instanceof Expected)) throw error
      const got = Array.isArray(value) ? value.join(' and ') : String(value)
      const shown = SECRETS.has(flag as string) ? 'something else' : JSON.stringify(got)
      problems.push(`Expected \`${name}\` to be ${error.message}, got ${shown}`)
      return null
    }
  }
  return { read, problems }
}

/** `; did you mean …?`, or nothing when no word is near. */
export function didYouMean(prefix: string, word: string, known: readonly string[]): string {
  const near = nearest(word, known)
  return near === undefined ? '' : `; did you mean \`${prefix}${near}\`?`
}

function unknownFlags(flags: Given['flags'], known: readonly string[]): string[] {
  const unknown = Object.keys(flags).filter((flag) => !known.includes(flag))
  return unknown.map((flag) => {
    const dashes = flag.length === 1 ? '-' : '--'
    return `\`${dashes}${flag}\` is not a flag of this command${didYouMean('--', flag, known)}`
  })
}

function unknownVariables(env: Given['env'], known: readonly string[]): string[] {
  const unknown = Object.keys(env).filter((name) => name.startsWith(ENV_PREFIX) && !known.includes(name))
  return unknown.map((name) => `\`${name}\` is not a setting${didYouMean('', name, known)}`)
}
