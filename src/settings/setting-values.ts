/** The kinds of values that settings take: from what a user typed to what the program uses. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { z } from 'zod'
import { addressOf } from '../runtime/cluster/directory.ts'
import { DAY_MS, MINUTE_MS } from '../runtime/timings.ts'
import { isId } from '../storage/ids.ts'

declare module 'zod' {
  interface GlobalMeta {
    /** What a value must be, in words that follow "Expected `--port` to be". */
    takes?: string
    /** The heading of the setting in `--help` and docs/config.md. */
    group?: string
    /** A placeholder for the value, such as PORT; a switch has none. */
    shape?: string
    /** The value is never shown as it was given. */
    isSecret?: boolean
    /** The value is `env:NAME` or `file:PATH`; the schema gets the secret that it names. */
    namesSecret?: boolean
  }
}

/** True for an address to listen on that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return isIP(host) === 4 ? host.startsWith('127.') : /^(::1|localhost)$/i.test(host)
}

/** A value that may be absent; then it is null. */
export function optional<T extends z.ZodType>(value: T) {
  return value.optional().transform((given) => given ?? null)
}

/** Digits only: no sign, no fraction, no exponent. */
export function wholeNumber(min: number, max: number, shape = 'N') {
  const digits = z.string().regex(/^\d{1,9}$/)
  const takes = `a whole number from ${min} to ${max}`
  return digits.transform(Number).pipe(z.int().min(min).max(max)).meta({ takes, shape })
}

/** A port; 0 is any free one, where `min` allows it. */
export const port = (min: 0 | 1) => wholeNumber(min, 65_535, 'PORT')

const UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: MINUTE_MS, h: 60 * MINUTE_MS, d: DAY_MS }

/** A number and a unit, such as `30s`; in milliseconds. The limits are written in the same way. */
export function duration(min: string, max: string) {
  const text = z.string().regex(/^\d{1,9}(ms|s|m|h|d)$/)
  const takes = `a duration from ${min} to ${max}, such as 30s (units: ms, s, m, h, d)`
  return text
    .transform(toMs)
    .pipe(z.int().min(toMs(min)).max(toMs(max)))
    .meta({ takes, shape: 'DURATION' })
}

function toMs(text: string): number {
  return Number.parseInt(text, 10) * UNITS_MS[text.replace(/^\d+/, '')]!
}

const UNITS_BYTES: Record<string, number> = { '': 1, KiB: 1024, MiB: 1024 * 1024 }

/** A number of bytes, or of a unit, such as `256KiB`; in bytes. The limits are written in the same way. */
export function size(min: string, max: string) {
  const text = z.string().regex(/^\d{1,9}(KiB|MiB)?$/)
  const takes = `a size from ${min} to ${max}, such as 256KiB (units: KiB, MiB; none: bytes)`
  return text
    .transform(toBytes)
    .pipe(z.int().min(toBytes(min)).max(toBytes(max)))
    .meta({ takes, shape: 'SIZE' })
}

function toBytes(text: string): number {
  return Number.parseInt(text, 10) * UNITS_BYTES[text.replace(/^\d+/, '')]!
}

/** One word of a list. */
export function oneOf<const T extends readonly string[]>(words: T, shape: string) {
  return z.enum(words).meta({ takes: `one of ${words.join(', ')}`, shape })
}

/** A text that matches. */
export function text(pattern: RegExp, takes: string, shape: string) {
  return z.string().regex(pattern).meta({ takes, shape })
}

/** A text that is never shown, or null. */
export function secret(shape: string, minLength = 16) {
  const pattern = new RegExp(`^[\\x21-\\x7e]{${minLength},512}$`)
  const value = text(pattern, `${minLength} to 512 visible ASCII characters`, shape)
  return optional(value).meta({ isSecret: true })
}

/** An address or a host name to listen on. */
export const address = text(/^\S+$/, 'an address or host name', 'ADDRESS')

/** True or false, by default false; on the command line a switch without a value is true. */
export const yesNo = z
  .stringbool({ truthy: ['true', '1'], falsy: ['false', '0'], case: 'sensitive' })
  .prefault('false')
  .meta({ takes: 'true or false' })

/** A message's id. */
export const messageId = z
  .string()
  .refine(isId)
  .meta({ takes: 'a message id (a ULID, 26 characters)', shape: 'ID' })

const HOST_PORT = /^(?:\[(?<host>[\da-fA-F:.]+)\]|(?<host>[\w.-]+)):(?<port>\d{1,5})$/
const hostPort = z
  .string()
  .transform((one) => HOST_PORT.exec(one)?.groups as Record<'host' | 'port', string> | undefined)
  .pipe(z.object({ host: z.string(), port: z.coerce.number<string>().min(1).max(65_535) }))

const HOST_NAME = /^(\*|(\*\.)?[\w-]+(\.[\w-]+)*)$/
/** `NAME,…`: names of hosts without ports. `*.NAME`: every name below it. `*`: every name. */
export const hostNames = z
  .string()
  .transform((list) => list.split(','))
  .pipe(z.array(z.string().trim().regex(HOST_NAME)))
  .meta({
    takes: 'host names without ports, with commas between them (*.example.com: all names below it; *: all)',
    shape: 'NAME,…',
  })

/** `HOST:PORT,…`, an IPv6 address in brackets. */
export const hostPorts = z
  .string()
  .transform((list) => list.split(','))
  .pipe(z.array(hostPort))
  .meta({ takes: 'HOST:PORT, or several with commas between them', shape: 'HOST:PORT,…' })

/** `NAME@HOST:PORT,…`: a Hazelcast cluster and the members to connect to first, as `host:port`. */
export const cluster = z
  .string()
  .transform((whole) => /^(?<clusterName>[^@\s]+)@(?<members>.+)$/.exec(whole)?.groups)
  .pipe(
    z.object({ clusterName: z.string(), members: hostPorts.transform((members) => members.map(addressOf)) }),
  )
  .meta({ takes: 'NAME@HOST:PORT, or several HOST:PORT with commas between them', shape: 'NAME@HOST:PORT,…' })

/** The URL of a node, without a slash at its end. */
export const apiUrl = z
  .string()
  .refine(isApiUrl)
  .transform((url) => url.replace(/\/+$/, ''))
  .meta({ takes: 'a URL such as http://127.0.0.1:8080', shape: 'URL' })

function isApiUrl(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, search, hash, username } = new URL(value)
  return /^https?:$/.test(protocol) && `${search}${hash}${username}` === ''
}

/** A URL to post to. It may have a query, which may be a secret; a user name or a password would show everywhere. */
export const targetUrl = z
  .string()
  .refine((url) => {
    if (!URL.canParse(url)) return false
    const { protocol, username, password } = new URL(url)
    return /^https?:$/.test(protocol) && username === '' && password === ''
  })
  .meta({
    ...{ takes: 'an http or https URL without a user name or password', shape: 'URL' },
    isSecret: true,
  })

/** `env:NAME` or `file:PATH`, of the secret of a Standard Webhooks signature; null when absent. */
export const signingSecret = optional(
  z.string().refine((secret) => /^(?!whsec_)|^whsec_[A-Za-z0-9+/]+={0,2}$/.test(secret), {
    error: 'Expected the secret that `--forward-secret` names to be Base64 after its `whsec_`',
  }),
).meta({ takes: 'env:NAME or file:PATH', shape: 'env:NAME', isSecret: true, namesSecret: true })

/** A path, made absolute; it need not exist. */
export const directory = z
  .string()
  .min(1)
  .transform((path) => resolve(path))
  .meta({ takes: 'a path', shape: 'DIRECTORY' })

/** A path, made absolute, of a file that exists. */
export const existingFile = z
  .string()
  .transform((path) => resolve(path))
  .refine((path) => existsSync(path) && statSync(path).isFile())
  .meta({ takes: 'a file that exists', shape: 'FILE' })

/** A path, made absolute, of a file or pipe to read; `-` is standard input. */
export const inputFile = z
  .string()
  .transform((path) => (path === '-' ? path : resolve(path)))
  .refine((path) => path === '-' || isReadable(path))
  .meta({ takes: 'a file that can be read', shape: 'FILE' })

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return !statSync(file).isDirectory()
  } catch {
    return false
  }
}
