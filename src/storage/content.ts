/**
 * What a stored text stands for. A text that was posted to `/messages` stands for itself. What a source took in has a
 * head: from which source, of which media type, with which headers. Both are one string, so that no store, queue, page or
 * call between actors needs to know of heads, and every bound that counts bytes counts them.
 *
 *   stored text   without a head: the body, as it is
 *                 else: NUL, the head as JSON, a line feed, the body (as Base64 when it is not UTF-8)
 *
 * A body without a head that begins with NUL gets an empty head, so that it is not taken for one.
 */

import { atOf } from './ids.ts'
import type { Message } from './ports.ts'

/** Where a body came from; absent fields are not known. */
interface Head {
  /** The name of the source, of `POST /in/{source}`. */
  source?: string
  /** Its Content-Type, as it was sent. */
  type?: string
  /** Headers kept with it, by their names in lower case. */
  headers?: Record<string, string>
}

/** A message's body with its head: `text` when the body is UTF-8, else `base64`. */
export type Content = Head & ({ text: string; base64?: never } | { base64: string; text?: never })

/** A message as people and programs are shown it. `at`: ISO 8601, UTC. */
export type Shown = { id: string; at: string } & Content

const NUL = '\0'

/** The stored text of a content. */
export function storedText(content: Content): string {
  const { source, type, headers } = content
  const isText = content.text !== undefined
  const body = isText ? content.text : content.base64
  const hasHead = source !== undefined || type !== undefined || headers !== undefined
  if (!hasHead && isText) return body.startsWith(NUL) ? `${NUL}\n${body}` : body
  const head = { as: isText ? 'text' : 'base64', source, type, headers }
  return `${NUL}${JSON.stringify(head)}\n${body}`
}

/** What stands in the stored text of every message of a source. */
export function sourceText(source: string): string {
  return `"source":${JSON.stringify(source)}`
}

/** The content of a stored text. A text that begins as if it had a head, and has none, is a body. */
export function contentOf(stored: string): Content {
  if (!stored.startsWith(NUL)) return { text: stored }
  const end = stored.indexOf('\n')
  const body = stored.slice(end + 1)
  if (end === 1) return { text: body }
  const { as, ...head } = headIn(stored.slice(1, Math.max(1, end))) ?? {}
  if (as === 'text') return { text: body, ...head }
  return as === 'base64' ? { base64: body, ...head } : { text: stored }
}

/** The bytes of a content's body. */
export function bytesOf(content: Content): Buffer {
  return content.text !== undefined ? Buffer.from(content.text) : Buffer.from(content.base64, 'base64')
}

/** A message of a list, a log or a queue, as it is shown. */
export function shown({ id, text }: Message): Shown {
  const { source, type, headers, ...body } = contentOf(text)
  return {
    ...{ id, ...body, at: atOf(id) },
    ...(source !== undefined && { source }),
    ...(type !== undefined && { type }),
    ...(headers !== undefined && { headers }),
  }
}

/** Undefined when it is none: the text was stored before there were heads. */
function headIn(json: string): (Head & { as?: unknown }) | undefined {
  try {
    return JSON.parse(json) ?? undefined
  } catch {
    return undefined
  }
}
