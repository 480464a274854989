/** The shape of the hostile corpus: what is said on one connection, and what must come of it. */

/** Bytes to say: a string stands for its UTF-8. */
export type Bytes = string | Buffer

/** One connection of a client nobody wishes for. */
export interface Case {
  /** What it sends, in words. Unique: it names the test. */
  name: string
  /** What it says, all of it at once. */
  says: Buffer
  /** The statuses of the answers, in their order, and no answer besides. */
  answers: readonly number[]
  /** The code of the last answer's problem; absent when that is no problem. */
  code?: string
  /** For a stream of lines: `stored`, or the code, of each line back. */
  lines?: readonly string[]
  /** The texts it may leave in the lists. Absent: nothing. */
  stores?: readonly string[]
}

/** A header's name and value, written as they are: a list, because hostile heads repeat themselves. */
export type Headers = readonly (readonly [name: string, value: Bytes])[]

/** Joins strings and bytes. */
export function bytes(...parts: Bytes[]): Buffer {
  return Buffer.concat(parts.map((part) => Buffer.from(part as string)))
}

/** A head, with `Host: localhost` unless the headers say otherwise. */
export function head(line: Bytes, headers: Headers = []): Buffer {
  const host: Headers = headers.some(([name]) => name.toLowerCase() === 'host') ? [] : [['Host', 'localhost']]
  const lines = [...host, ...headers].flatMap(([name, value]) => [name, ': ', value, '\r\n'])
  return bytes(line, '\r\n', ...lines, '\r\n')
}

/** A GET of a target. */
export function get(target: Bytes, headers: Headers = []): Buffer {
  return head(bytes('GET ', target, ' HTTP/1.1'), headers)
}

/** A POST to `/messages` with a body and its length. */
export function post(type: string | undefined, body: Bytes, headers: Headers = []): Buffer {
  const payload = bytes(body)
  const given: Headers = [
    ...(type === undefined ? [] : ([['Content-Type', type]] as const)),
    ['Content-Length', String(payload.length)],
    ...headers,
  ]
  return bytes(head('POST /messages HTTP/1.1', given), payload)
}

/** A POST of a text to `/messages` up to its framing headers, which are the case's own. */
export function framed(headers: Headers, rest: Bytes): Buffer {
  return bytes(head('POST /messages HTTP/1.1', [['Content-Type', 'text/plain'], ...headers]), rest)
}

export const TEXT = 'text/plain'
export const JSON_TYPE = 'application/json'
export const LINES = 'application/x-ndjson'

/** A case that is refused: one answer, a problem, nothing stored. */
export function refused(name: string, status: number, code: string, says: Buffer): Case {
  return { name, says, answers: [status], code }
}

/** A case that is taken: one answer without a problem. */
export function taken(name: string, status: number, says: Buffer, stores: readonly string[] = []): Case {
  return { name, says, answers: [status], stores }
}
