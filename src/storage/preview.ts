/** The beginning of a message: enough to recognise it, however large it is. */
import { bytesOf, contentOf } from './content.ts'
import type { Preview } from './ports.ts'

/** So many characters of a text are shown. */
const PREVIEW_CHARACTERS = 200
/** Texts without one have a code point for each character of the string. */
const SURROGATE = /[\ud800-\udfff]/

/** The preview of a stored text: whole code points. It holds no reference to the text. */
export function previewOf(stored: string): Preview {
  const content = contentOf(stored)
  const { source, type } = content
  const origin = { ...(source !== undefined && { source }), ...(type !== undefined && { type }) }
  if (content.base64 !== undefined) {
    return {
      base64: copyOf(content.base64.slice(0, PREVIEW_CHARACTERS)),
      bytes: bytesOf(content).length,
      ...origin,
    }
  }
  const { text } = content
  return { text: copyOf(beginningOf(text, PREVIEW_CHARACTERS)), bytes: Buffer.byteLength(text), ...origin }
}

/** The first code points of a text. It may hold a reference to the text. */
export function beginningOf(text: string, count: number): string {
  // A code point takes two characters of a string at most.
  const most = text.slice(0, 2 * count)
  return SURROGATE.test(most) ? [...most].slice(0, count).join('') : most.slice(0, count)
}

/** V8's slices keep the whole string in memory. */
function copyOf(text: string): string {
  return Buffer.from(text).toString()
}
