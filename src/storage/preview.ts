/** The beginning of a message: enough to recognise it, however large it is. */
import { bytesOf, contentOf } from './content.ts'
import type { Preview } from './ports.ts'

/** So many characters of a text are shown. */
const PREVIEW_CHARACTERS = 200

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
  return { text: beginningOf(text), bytes: Buffer.byteLength(text), ...origin }
}

function beginningOf(text: string): string {
  if (text.length <= PREVIEW_CHARACTERS) return text
  // A code point takes two characters of a string at most.
  const points = [...text.slice(0, 2 * PREVIEW_CHARACTERS)]
  return copyOf(points.slice(0, PREVIEW_CHARACTERS).join(''))
}

/** V8's slices keep the whole string in memory. */
function copyOf(text: string): string {
  return Buffer.from(text).toString()
}
