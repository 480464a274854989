/** Sentences about declared sources that are not what their schema takes. No secret stands in them. */
import type { z } from 'zod'
import { didYouMean } from '../settings/settings-reader.ts'

/**
 * What is wrong, in sentences with their places.
 *
 * @param declared The value that has the issue, and stands at `place`.
 * @param fields Scheme -> the fields of its sources.
 */
export function sentencesOf(
  issue: z.core.$ZodIssue,
  place: string,
  declared: unknown,
  fields: Map<unknown, string[]>,
): string[] {
  const at = issue.path.reduce<string>(
    (place, key) => (typeof key === 'number' ? `${place}[${key}]` : `${place}.${String(key)}`),
    place,
  )
  const value = issue.path.reduce<unknown>(
    (value, key) => (value as Record<PropertyKey, unknown>)?.[key],
    declared,
  )
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${at}.${key}: ${strangeField(key, value, fields)}`)
  if (issue.code === 'custom') return [`${at}: ${issue.message}`]
  if (issue.code === 'invalid_union') {
    // The branch that takes values of this type, if it says more than the union does.
    const branch = issue.errors.find((inner) =>
      inner.every(({ path, code }) => path.length > 0 || code === 'custom'),
    )
    if (branch !== undefined) return branch.flatMap((inner) => sentencesOf(inner, at, value, fields))
  }
  const isSecret = /\.(secret|verifyToken)(\[|$)/.test(at) && typeof value === 'string'
  return [`${at}: expected ${issue.message}, got ${isSecret ? 'a literal' : shown(value)}`]
}

/** Why a field may not stand in a declaration. */
function strangeField(field: string, declared: unknown, fields: Map<unknown, string[]>): string {
  const { verify } = declared as { verify: string }
  const all = [...fields.values()].flat()
  const own = fields.get(verify) ?? all
  const isOfOthers = all.includes(field)
  if (isOfOthers) return `verify "${verify}" does not take it; it takes ${own.join(', ')}`
  return `there is no such field${didYouMean('', field, own)}`
}

/** A wrong value, in short, as it follows "got". */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (isObject(value)) return 'an object'
  const json = JSON.stringify(value)
  return json.length > 80 ? `${json.slice(0, 80)}…` : json
}

/** True for a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
