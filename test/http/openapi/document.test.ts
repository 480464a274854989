/** The document: what stands in it is what the program does. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { z } from 'zod'
import { openapiOf } from '../../../src/http/openapi/document.ts'
import { ERROR_HELP } from '../../../src/http/openapi/error-help.ts'
import { type Body, type OperationDoc, operationsOf, PARTS } from '../../../src/http/openapi/operations.ts'
import { PROBLEMS } from '../../../src/http/problems.ts'
import { ROUTES, type Route } from '../../../src/http/routes/table.ts'
import type { ErrorCode } from '../../../src/runtime/errors.ts'
import { pageOf, rowsOf } from '../../support/markdown.ts'
import { startApi } from '../../support/public-api.ts'

const SIZES = { maxMessageBytes: 65_536, lanes: 16 }
const document = openapiOf(SIZES)
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

/** All objects in a value, itself among them. */
function* objectsIn(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return
  yield value as Record<string, unknown>
  for (const inner of Object.values(value)) yield* objectsIn(inner)
}

test('the document has every route of the table, with its parameters, role and media types, and no other', () => {
  const listed = operations.map(({ path, method, operation }) => {
    const namesIn = (where: string) =>
      operation.parameters.filter((parameter) => parameter.in === where).map(({ name }) => name)
    const types = Object.keys(operation.requestBody?.content ?? {}).map((type) => type.replace('*/*', '*'))
    return [
      operation.operationId,
      method.toUpperCase(),
      path,
      operation['x-role'],
      namesIn('path'),
      namesIn('query'),
      types,
    ]
  })
  const expected = Object.entries<Route>(ROUTES).map(([name, { method, path, role, query, types }]) => {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)
    return [name, method, path, role, inPath, query === 'any' ? [] : [...query], [...types]]
  })
  const byName = (a: unknown[], b: unknown[]) => String(a[0]).localeCompare(String(b[0]))
  assert.deepEqual(listed.sort(byName), expected.sort(byName))
})

test('a route without parameters, limits or a body of its media type does not compile', () => {
  const all = operationsOf(SIZES)
  const { limits: _, ...unlimited } = all.getLivez
  // @ts-expect-error It has no limits.
  const first: OperationDoc<'getLivez'> = unlimited
  // @ts-expect-error `limit` and others are not told.
  const second: OperationDoc<'getLog'> = { ...all.getLog, query: {} }
  // @ts-expect-error Its path has an id.
  const third: OperationDoc<'getMessage'> = { ...all.getMessage, path: {} }
  // @ts-expect-error It takes JSON.
  const fourth: OperationDoc<'putDelivery'> = { ...all.putDelivery, body: {} }
  const { getLog: __, ...others } = all
  // @ts-expect-error A route is left out.
  const fifth: ReturnType<typeof operationsOf> = others
  assert.equal([first, second, third, fourth, fifth].length, 5, 'the compiler has checked them')
})

test('every reference in the document leads somewhere, every part has an operation, and open calls need nothing', () => {
  for (const { $ref } of objectsIn(document)) {
    if ($ref === undefined) continue
    const target = String($ref)
      .slice(2)
      .split('/')
      .reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], document)
    assert.ok(target !== undefined, String($ref))
  }
  assert.deepEqual(
    [...new Set(operations.flatMap(({ operation }) => operation.tags))].sort(),
    [...PARTS].sort(),
  )
  for (const { operation } of operations) {
    const isOpen = ['open', 'source'].includes(operation['x-role'])
    assert.equal(operation.security.length === 0, isOpen, operation.operationId)
    // A sign-in is open, but its token may be wrong.
    const mayBeWrong = !isOpen || operation.operationId === 'postSession'
    assert.equal('401' in operation.responses && operation['x-role'] !== 'source', mayBeWrong)
  }
})

test('every example is one of its schema', () => {
  let count = 0
  for (const [name, { answers, body }] of Object.entries(operationsOf(SIZES))) {
    const bodies: Record<string, Body>[] = [
      body,
      ...Object.values(answers).map((answer) => answer.body ?? {}),
    ]
    for (const { schema, example } of bodies.flatMap((each) => Object.values(each))) {
      if (!(schema instanceof z.ZodType)) continue
      assert.ok(schema.safeParse(example).success, name)
      count++
    }
  }
  assert.ok(count > 20)
})

test('each status of an error has the codes of that status, and its headers', () => {
  for (const { operation } of operations) {
    for (const [status, { 'x-codes': codes = [], headers = {} }] of Object.entries(operation.responses)) {
      for (const code of codes) assert.equal(String(PROBLEMS[code].status), status, operation.operationId)
      if (codes.length === 0) continue
      assert.equal('Retry-After' in headers, ['429', '503'].includes(status) || codes.includes('MR_KEY_BUSY'))
      assert.equal('WWW-Authenticate' in headers, status === '401')
    }
  }
})

test('a node answers with its document: its own sizes, and nothing else of its settings', async (t) => {
  const token = 'the-right-token-of-32-characters'
  const { ask } = await startApi(t, { token, maxMessageBytes: 65_536 })
  const { status, headers, json, text } = await ask('GET', '/openapi.json')
  assert.deepEqual(
    [status, headers['content-type'], json],
    [200, 'application/json', JSON.parse(JSON.stringify(document))],
  )
  assert.ok(!text.includes(token))
})

test('what readers are told of each error is what docs/errors.md says', () => {
  const rows = rowsOf(pageOf('docs/errors.md')).filter(([code]) => code?.startsWith('`MR_'))
  const told = rows.map(([code, , , , when, todo]) => [code!.replaceAll('`', ''), { when, todo }])
  assert.deepEqual(Object.fromEntries(told), ERROR_HELP)
  assert.deepEqual(Object.keys(PROBLEMS).sort(), (Object.keys(ERROR_HELP) as ErrorCode[]).sort())
})
