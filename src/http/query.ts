/** Strict query parameters: unknown, repeated or ill-formed ones are refused and named. */
import { isId } from '../storage/ids.ts'
import { badRequest } from './problems.ts'

/** The parameters of a request that were given. */
export type Query<K extends string = string> = Partial<Record<K, string>>

/**
 * Parses a query string.
 *
 * @throws {MailroomError} `MR_REQUEST_INVALID` naming a parameter that is not in `known` or stands twice.
 */
export function parseQuery(querystring: string, known: readonly string[]): Query {
  const query: Query = {}
  if (querystring === '') return query
  for (const [name, value] of new URLSearchParams(querystring)) {
    const where = `query parameter ${JSON.stringify(name.slice(0, 64))}`
    if (!known.includes(name)) {
      const expected = known.length === 0 ? 'absent; none is known here' : `one of ${known.join(', ')}`
      throw badRequest({ where, expected, got: 'an unknown one' })
    }
    if (Object.hasOwn(query, name)) throw badRequest({ where, expected: 'given once', got: 'several' })
    query[name] = value
  }
  return query
}

/** A whole number of a query, in decimal digits; `fallback` when absent. */
export function wholeNumber<F>(
  query: Query,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: F },
): number | F {
  const value = query[name]
  if (value === undefined) return fallback
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
  if (number >= min && number <= max) return number
  throw badRequest({
    where: `query parameter "${name}"`,
    expected: `a whole number from ${min} to ${max}`,
    got: shown(value),
  })
}

/** A message id of a query, as an object to spread: `{}` when absent. */
export function idParameter<K extends string>(query: Query, name: K): { [P in K]?: string } {
  const value = query[name]
  if (value === undefined) return {}
  return { [name]: checkId(value, `query parameter "${name}"`) } as { [P in K]?: string }
}

/** Gives a message id back. @throws {MailroomError} `MR_REQUEST_INVALID` when it is none. */
export function checkId(value: string, where: string): string {
  if (isId(value)) return value
  throw badRequest({ where, expected: 'a message id (a ULID, 26 characters)', got: shown(value) })
}

function shown(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value)
}
