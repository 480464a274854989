/** Measures of message texts. */

/** UTF-8 bytes of all texts together. */
export function textBytesOf(messages: readonly { text: string }[]): number {
  let bytes = 0
  for (const { text } of messages) bytes += Buffer.byteLength(text)
  return bytes
}
