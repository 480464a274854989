/** Writes docs/api.md, the API for readers, from the document that a node answers at /openapi.json: `npm run api`. */
import { writeFileSync } from 'node:fs'
import { curlOf, DEFAULT_URL } from '../src/http/openapi/curl.ts'
import {
  type OpenApi,
  type OperationObject,
  openapiOf,
  operationsByPart,
} from '../src/http/openapi/document.ts'
import type { JsonSchema } from '../src/http/openapi/operations.ts'
import { fieldsOf, typeOf } from '../src/http/openapi/words.ts'
import { DEFAULT_LANES, MESSAGE_DEFAULT_BYTES } from '../src/storage/limits.ts'

/** The text of docs/api.md: of a node with the default settings. */
export function apiPage(): string {
  const document = openapiOf({ maxMessageBytes: MESSAGE_DEFAULT_BYTES, lanes: DEFAULT_LANES })
  const sections = operationsByPart(document).flatMap(([part, operations]) => [
    `## ${part}`,
    ...operations.flatMap(([method, path, operation]) => operationLines(method, path, operation)),
  ])
  return `${['# The API', '<!-- Made by `npm run api`. -->', ...introduction(document), ...sections, ...shapes(document)].join('\n\n')}\n`
}

function introduction({ info }: OpenApi): string[] {
  return [
    'A node answers this page at `/docs`, and the same in OpenAPI 3.1 at `/openapi.json`. [The README](../README.md#the-api) tells how to use it; [errors](errors.md) has every code.',
    String(info['description']),
    'The lines for a shell take the token from `$MAILROOM_TOKEN`.',
  ]
}

function operationLines(method: string, path: string, operation: OperationObject): string[] {
  const { summary, description, parameters, requestBody, responses } = operation
  const bodies = Object.entries(requestBody?.content ?? {})
  return [
    `### ${method} ${path}`,
    `${summary}${summary.endsWith('?') ? '' : '.'} ${description}`,
    `Role: \`${operation['x-role']}\`. Limits: ${operation['x-limits']}`,
    `\`\`\`\n${curlOf({ method, path, url: DEFAULT_URL }, operation)}\n\`\`\``,
    ...table(
      ['parameter', 'in', 'value', 'meaning'],
      parameters.map(({ name, in: where, schema, description }) => [
        `\`${name}\``,
        where,
        shapeName(schema),
        description,
      ]),
    ),
    ...table(
      ['body', 'shape'],
      bodies.map(([type, { schema }]) => [`\`${type}\``, shapeName(schema)]),
    ),
    ...table(
      ['status', 'meaning', 'shape'],
      Object.entries(responses).map(([status, response]) => [
        status,
        response.description.replaceAll(/\bMR_\w+/g, '`$&`'),
        Object.entries(response.content ?? {})
          .filter(([type]) => type !== 'application/problem+json')
          .map(([type, { schema }]) => `\`${type}\` ${shapeName(schema)}`)
          .join(', '),
      ]),
    ),
  ]
}

function shapes({ components }: OpenApi): string[] {
  return [
    '## Shapes',
    ...Object.entries(components.schemas).flatMap(([name, schema]) => [
      `### ${name}`,
      String(schema['description']),
      ...table(
        ['field', 'value', 'meaning'],
        fieldsOf(schema).map((field) => [
          `\`${field.name}\``,
          `${shapeName(field.schema)}${field.isOptional ? ', or absent' : ''}`,
          field.does,
        ]),
      ),
    ]),
  ]
}

/** A schema in words, in which named shapes are links. */
function shapeName(schema: JsonSchema): string {
  const words = typeOf(schema, (name) => `«${name}»`)
  if (!words.includes('«')) return `\`${words.replaceAll('|', '/')}\``
  return words.replaceAll(/«(\w+)»/g, (_, name: string) => `[${name}](#${name.toLowerCase()})`)
}

function table(heads: string[], rows: string[][]): string[] {
  if (rows.length === 0) return []
  return [[heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')]
}

if (import.meta.main) writeFileSync('docs/api.md', apiPage())
