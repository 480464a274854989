/** How the value of a setting is read: each reader takes what was typed and tells what it expected. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { addressOf, type HostPort } from '../runtime/cluster/directory.ts'
import { isId } from '../storage/ids.ts'

/** Reads one value; paths are relative to `cwd`. @throws {Expected} When it is not what the setting takes. */
export type Parse<T> = (value: string, cwd: string) => T

/** What was expected of a value, in words that follow "Expected it to be". */
export class Expected extends Error {}

/** One minute. */
export const MINUTE_MS = 60_000
const UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: MINUTE_MS,
  h: 60 * MINUTE_MS,
  d: 24 * 60 * MINUTE_MS,
}

/** Digits only: no sign, no fraction, no exponent. */
export function wholeNumber(min: number, max: number): Parse<number> {
  return (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
    if (number >= min && number <= max) return number
    throw new Expected(`a whole number from ${min} to ${max}`)
  }
}

/** A number and a unit, such as `30s`; in milliseconds. */
export function duration(minMs: number, maxMs: number): Parse<number> {
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
  if (ms === 0) return '0s'
  const [unit, size] = Object.entries(UNITS).findLast(([, of]) => ms % of === 0) ?? ['ms', 1]
  return `${ms / size}${unit}`
}

/** One word of a list. */
export function oneOf<const T extends string>(words: readonly T[]): Parse<T> {
  return (value) => {
    const word = words.find((one) => one === value)
    if (word !== undefined) return word
    throw new Expected(`one of ${words.join(', ')}`)
  }
}

/** Whatever matches; `words` say what that is. */
export function text(pattern: RegExp, words: string): Parse<string> {
  return (value) => {
    if (pattern.test(value)) return value
    throw new Expected(words)
  }
}

/** A message's id. */
export function messageId(value: string): string {
  if (isId(value)) return value
  throw new Expected('a message id (a ULID, 26 characters)')
}

/** A Hazelcast cluster: its name and the members to begin with, as `host:port`. */
export interface ClusterAddress {
  clusterName: string
  members: string[]
}

/** `HOST:PORT,…`, an IPv6 address in brackets. */
export function hostPorts(value: string): HostPort[] {
  return value.split(',').map((one) => {
    const [, bracketed, plain, digits] = /^(?:\[([\da-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(one) ?? []
    const port = Number(digits)
    if (port >= 1 && port <= 65_535) return { host: (bracketed ?? plain)!, port }
    throw new Expected('HOST:PORT, or several with commas between them')
  })
}

/** `NAME@HOST:PORT,…`. */
export function cluster(value: string): ClusterAddress {
  const [, clusterName, members] = /^([^@\s]+)@(.+)$/.exec(value) ?? []
  try {
    if (clusterName !== undefined) return { clusterName, members: hostPorts(members!).map(addressOf) }
  } catch (error) {
    if (!(error instanceof Expected)) throw error
  }
  throw new Expected('NAME@HOST:PORT, or several HOST:PORT with commas between them')
}

/** A switch: `true`, `1`, `false` or `0`. */
export function yesNo(value: string): boolean {
  if (value === 'true' || value === '1') return true
  if (value === 'false' || value === '0') return false
  throw new Expected('true or false')
}

/** A path, made absolute; nothing need be there. */
export function path(value: string, cwd: string): string {
  if (value !== '') return resolve(cwd, value)
  throw new Expected('a path')
}

/** A path, made absolute, of a file that is there. */
export function existingFile(value: string, cwd: string): string {
  const absolute = resolve(cwd, value)
  if (existsSync(absolute) && statSync(absolute).isFile()) return absolute
  throw new Expected('a file that exists')
}

/** The URL of a node, without a slash at its end. */
export function apiUrl(value: string): string {
  if (URL.canParse(value)) {
    const { protocol, search, hash, username } = new URL(value)
    if (/^https?:$/.test(protocol) && `${search}${hash}${username}` === '') return value.replace(/\/+$/, '')
  }
  throw new Expected('a URL such as http://127.0.0.1:8080')
}

/** A path, made absolute, of something to read: a file, a pipe, or `-` for standard input. */
export function inputFile(value: string, cwd: string): string {
  if (value === '-') return value
  const absolute = resolve(cwd, value)
  try {
    accessSync(absolute, constants.R_OK)
    if (!statSync(absolute).isDirectory()) return absolute
  } catch {
    // Said below.
  }
  throw new Expected('a file that can be read')
}
