/** JSON Schema in words. */
import type { JsonSchema } from './operations.ts'

/**
 * A schema in a few words: `whole number, 1 to 1000`, `list of Message`.
 *
 * @param refer The word for a named shape.
 */
export function typeOf(schema: JsonSchema, refer = (name: string) => name): string {
  const { $ref, type, items, enum: values, const: only, format, pattern } = schema
  if (typeof $ref === 'string') return refer($ref.split('/').at(-1)!)
  if (only !== undefined) return JSON.stringify(only)
  if (Array.isArray(values)) return values.map((value) => String(value)).join(' | ')
  const options = (schema['anyOf'] ?? schema['oneOf'] ?? schema['allOf']) as JsonSchema[] | undefined
  if (options !== undefined) return [...new Set(options.map((option) => typeOf(option, refer)))].join(' or ')
  if (Array.isArray(type)) return type.map((one) => typeOf({ ...schema, type: one }, refer)).join(' or ')
  switch (type) {
    case 'null':
      return 'null'
    case 'integer': {
      const from = bound(schema['minimum'])
      const to = bound(schema['maximum'])
      const initial = schema['default'] === undefined ? '' : `, ${schema['default']} by default`
      if (to === undefined) return `whole number${initial}`
      return `whole number, ${from ?? 0} to ${to}${initial}`
    }
    case 'array':
      return `list of ${typeOf((items ?? {}) as JsonSchema, refer)}`
    case 'object':
      return wordsOfObject(schema)
    case 'string': {
      if (format === 'date-time') return 'time'
      if (typeof pattern === 'string') return `text like ${pattern}`
      const { minLength, maxLength } = schema
      return maxLength === undefined ? 'text' : `text of ${minLength ?? 0} to ${maxLength} characters`
    }
    default:
      return type === undefined ? 'anything' : String(type)
  }
}

/** A field of an object. */
export interface Field {
  name: string
  schema: JsonSchema
  does: string
  isOptional: boolean
}

/** The fields of an object; of any other schema none. */
export function fieldsOf({ properties = {}, required = [] }: JsonSchema): Field[] {
  return Object.entries(properties as Record<string, JsonSchema>).map(([name, schema]) => ({
    name,
    schema,
    does: typeof schema['description'] === 'string' ? schema['description'] : '',
    isOptional: !(required as string[]).includes(name),
  }))
}

function wordsOfObject(schema: JsonSchema): string {
  const fields = fieldsOf(schema)
  if (fields.length === 0) return 'object'
  return `{${fields.map(({ name, isOptional }) => (isOptional ? `${name}?` : name)).join(', ')}}`
}

/** A bound, if it is one that somebody chose. */
function bound(value: unknown): number | undefined {
  return typeof value === 'number' && Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined
}
