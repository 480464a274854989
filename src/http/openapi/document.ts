/** The API as one OpenAPI 3.1 document, made of the table of routes, `operations.ts` and the schemas. */

import { z } from 'zod'
import type { ErrorCode } from '../../runtime/errors.ts'
import type { NodeConfig } from '../../settings/config.ts'
import { PROBLEMS, WAIT_AND_RETRY } from '../problems.ts'
import { type Operation, ROUTES, type Route } from '../routes/table.ts'
import { SESSION_COOKIE } from '../sessions.ts'
import {
  type Body,
  type JsonSchema,
  type OperationDoc,
  operationsOf,
  PARTS,
  type Parameter,
} from './operations.ts'
import { NAMED, Problem } from './schemas.ts'

/** What of a media type stands in a request or an answer. */
interface Media {
  schema: JsonSchema
  example?: unknown
}

/** A parameter in the document. */
export interface ParameterObject {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  description: string
  schema: JsonSchema
  example?: unknown
}

/** An answer in the document. `x-codes`: of an error. */
export interface ResponseObject {
  description: string
  headers?: Record<string, { description: string; schema: JsonSchema } | { $ref: string }>
  content?: Record<string, Media>
  'x-codes'?: ErrorCode[]
}

/** An operation in the document. */
export interface OperationObject {
  operationId: Operation
  tags: string[]
  summary: string
  description: string
  'x-role': Route['role']
  'x-limits': string
  security: Record<string, string[]>[]
  parameters: ParameterObject[]
  requestBody?: { required: boolean; content: Record<string, Media> }
  responses: Record<string, ResponseObject>
}

/** The document. */
export interface OpenApi {
  openapi: string
  info: Record<string, unknown>
  servers: { url: string; description: string }[]
  tags: { name: string }[]
  /** Path -> method in lower case -> operation. */
  paths: Record<string, Record<string, OperationObject>>
  components: Record<'schemas' | 'headers' | 'securitySchemes', Record<string, JsonSchema>>
}

const VERSION = '0.1.0'
const INFO = `JSON in UTF-8. Ids are ULIDs and sort by time; times are ISO 8601 in UTC. Unknown fields and query parameters are refused by name. Every error is \`application/problem+json\` with a stable \`code\`. GET takes HEAD, too. When the node has a token, every call but the open ones needs it. \`x-role\` says who may call: \`open\` anybody, \`read\` a token to read or any above, \`post\` a token to post or the token, \`all\` the token alone, \`source\` whom the source lets.`

const header = (description: string) => ({ description, schema: { type: 'string' } })
/** Headers of many answers, by their names in the document. */
const HEADERS = {
  RequestId: header('Names the request, as the log lines of the node do.'),
  RetryAfter: header('Seconds, with jitter.'),
  Authenticate: header('What is missing: `Bearer` or `Signature`.'),
  Allow: header('The methods that it takes.'),
}
const headerNamed = (name: keyof typeof HEADERS) => ({ $ref: `#/components/headers/${name}` })

/** The operations of the document in the order of its parts. */
export function operationsByPart({
  paths,
}: OpenApi): [part: string, [method: string, path: string, OperationObject][]][] {
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]): [string, string, OperationObject] => [
      method.toUpperCase(),
      path,
      one,
    ]),
  )
  return PARTS.map((part) => [part, all.filter(([, , { tags }]) => tags.includes(part))])
}

/** Makes the document of a node. It has no secret: of the settings only sizes. */
export function openapiOf(config: Pick<NodeConfig, 'maxMessageBytes' | 'lanes'>): OpenApi {
  const docs = operationsOf(config)
  const paths: OpenApi['paths'] = {}
  for (const [operation, route] of Object.entries(ROUTES) as [Operation, Route][]) {
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: operationOf(operation, route, docs[operation] as AnyDoc),
    }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Mailroom',
      version: VERSION,
      description: INFO,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'This node.' }],
    tags: PARTS.map((name) => ({ name })),
    paths,
    components: {
      schemas: namedSchemas(),
      headers: HEADERS,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'A token that Mailroom was started with.' },
        cookie: {
          ...{ type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
          description: 'The session of a browser. A change needs the header `X-Mailroom: 1`, too.',
        },
      },
    },
  }
}

/** Any entry, for code that is the same for all. */
type AnyDoc = Omit<OperationDoc, 'path' | 'query' | 'body'> & {
  path: Record<string, Parameter>
  query: Record<string, Parameter>
  body: Record<string, Body>
}

function operationOf(operationId: Operation, route: Route, doc: AnyDoc): OperationObject {
  const isOpen = route.role === 'open' || route.role === 'source'
  const bodies = Object.entries(doc.body).map(([type, body]): [string, Body] => [
    type === '*' ? '*/*' : type,
    body,
  ])
  return {
    operationId,
    tags: [doc.part],
    summary: doc.title,
    description: doc.does,
    'x-role': route.role,
    'x-limits': doc.limits,
    security: isOpen ? [] : [{ bearer: [] }, { cookie: [] }],
    parameters: [
      ...parametersIn('path', doc.path),
      ...parametersIn('query', doc.query),
      ...parametersIn('header', doc.headers ?? {}),
    ],
    ...(bodies.length > 0 && {
      requestBody: { required: route.role !== 'source', content: contentOf(bodies) },
    }),
    responses: { ...answersOf(doc), ...errorsOf([...commonErrors(route), ...doc.errors], doc) },
  }
}

function parametersIn(
  where: ParameterObject['in'],
  parameters: Record<string, Parameter>,
): ParameterObject[] {
  return Object.entries(parameters).map(([name, { does, schema, example }]) => ({
    ...{ name, in: where, required: where === 'path', description: does, schema },
    ...(example !== undefined && { example }),
  }))
}

function answersOf({ answers }: AnyDoc): Record<string, ResponseObject> {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { does, body, headers = {} }]) => {
      const said = Object.entries(headers).map(([name, description]) => [name, header(description)])
      const shownHeaders = { 'X-Request-Id': headerNamed('RequestId'), ...Object.fromEntries(said) }
      return [
        status,
        {
          description: does,
          headers: shownHeaders,
          ...(body && { content: contentOf(Object.entries(body)) }),
        },
      ]
    }),
  )
}

function contentOf(bodies: [type: string, body: Body][]): Record<string, Media> {
  return Object.fromEntries(
    bodies.map(([type, { schema, example }]) => [
      type,
      { schema: jsonSchemaOf(schema), ...(example !== undefined && { example }) },
    ]),
  )
}

/** What any call with this role and these bodies may meet. */
function commonErrors({ role, types }: Route): ErrorCode[] {
  return [
    ...(['MR_REQUEST_INVALID', 'MR_HEAD_TOO_LARGE', 'MR_REQUEST_TIMEOUT', 'MR_INTERNAL'] as const),
    ...(role === 'open' || role === 'source' ? [] : CALLER_ERRORS),
    ...(types.length === 0 ? [] : BODY_ERRORS),
  ]
}

const CALLER_ERRORS = ['MR_TOKEN_INVALID', 'MR_ROLE_FORBIDDEN', 'MR_FORBIDDEN', 'MR_HOST_FORBIDDEN'] as const
const BODY_ERRORS = ['MR_TOO_LARGE', 'MR_TYPE_UNSUPPORTED', 'MR_OVERLOADED'] as const

/** The errors by status. One with a status that is also an answer's joins it. */
function errorsOf(codes: readonly ErrorCode[], doc: AnyDoc): Record<string, ResponseObject> {
  const byStatus = Map.groupBy(new Set(codes), (code) => PROBLEMS[code].status)
  return Object.fromEntries([...byStatus].map(([status, codes]) => [status, problemOf(status, codes, doc)]))
}

function problemOf(status: number, codes: ErrorCode[], doc: AnyDoc): ResponseObject {
  const answer = answersOf(doc)[status]
  const waits = WAIT_AND_RETRY.has(status) || codes.includes('MR_KEY_BUSY')
  const headers = {
    'X-Request-Id': headerNamed('RequestId'),
    ...(waits && { 'Retry-After': headerNamed('RetryAfter') }),
    ...(status === 401 && { 'WWW-Authenticate': headerNamed('Authenticate') }),
    ...(status === 405 && { Allow: headerNamed('Allow') }),
  }
  const schema = { allOf: [jsonSchemaOf(Problem), { properties: { code: { enum: codes } } }] }
  const problem = { 'application/problem+json': { schema } }
  return {
    description: [...(answer ? [answer.description] : []), codes.join(', ')].join(' Or: '),
    headers: { ...answer?.headers, ...headers },
    content: { ...answer?.content, ...problem },
    'x-codes': codes,
  }
}

/** All schemas with a name. */
function namedSchemas(): Record<string, JsonSchema> {
  const { schemas } = z.toJSONSchema(NAMED, { metadata: NAMED, uri: (id) => `#/components/schemas/${id}` })
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: __, id: ___, ...schema }]) => [
      id,
      schema as JsonSchema,
    ]),
  )
}

/** A schema as JSON Schema, in which those with a name are referred to. */
function jsonSchemaOf(schema: z.ZodType | JsonSchema): JsonSchema {
  if (!(schema instanceof z.ZodType)) return schema
  const known = NAMED.get(schema)
  if (known !== undefined) return { $ref: `#/components/schemas/${known.id}` }
  const { $schema: _, $defs: __, ...made } = z.toJSONSchema(schema, { metadata: NAMED })
  return JSON.parse(JSON.stringify(made).replaceAll('"#/$defs/', '"#/components/schemas/'))
}
