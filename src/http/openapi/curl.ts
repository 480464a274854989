/** A call as a line for a shell. */
import type { OperationObject } from './document.ts'

/** Where the line calls when nothing else is known. */
export const DEFAULT_URL = 'http://127.0.0.1:8080'

/** The line for an operation: with its example values, its first body, and the token by the name of its variable. */
export function curlOf(
  { method, path, url }: { method: string; path: string; url: string },
  { parameters, requestBody, security }: OperationObject,
): string {
  const target = parameters
    .filter((parameter) => parameter.in === 'path')
    .reduce(
      (text, { name, example }) => text.replace(`{${name}}`, String(example ?? name.toUpperCase())),
      path,
    )
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? []
  const sends =
    body === undefined ? '' : typeof body.example === 'string' ? body.example : JSON.stringify(body.example)
  const isImplied = method === 'GET' || (method === 'POST' && body !== undefined)
  return [
    'curl',
    ...(isImplied ? [] : [`-X ${method}`]),
    quoted(url + target),
    ...(security.length > 0 ? ['-H "Authorization: Bearer $MAILROOM_TOKEN"'] : []),
    ...(body === undefined
      ? []
      : [
          `-H ${quoted(`Content-Type: ${type === '*/*' ? 'application/json' : type}`)}`,
          `-d ${quoted(sends)}`,
        ]),
  ].join(' ')
}

/** A word of a shell, in which nothing has a meaning. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
