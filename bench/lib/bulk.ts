/** Messages in bulk: one NDJSON stream. */
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'

const CHUNK_BYTES = 65_536

/** The text of every message in bulk. */
export function bulkTextOf(size: number): string {
  return 'x'.repeat(size)
}

/** Streams `count` messages of `size` bytes, or of a text, into a node. @throws {Error} Unless every one was taken. */
export async function streamIn(
  url: string,
  count: number,
  size: number,
  text = bulkTextOf(size),
): Promise<void> {
  const line = `${JSON.stringify({ text })}\n`
  const lines = Math.ceil(CHUNK_BYTES / line.length)
  const body = Readable.from(
    (function* () {
      for (let left = count; left > 0; left -= lines) yield line.repeat(Math.min(lines, left))
    })(),
    { objectMode: false },
  )
  const answer = await new Promise<string>((resolve, reject) => {
    const outgoing = request(`${url}/messages?acks=errors`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
    })
    outgoing.on('error', reject)
    outgoing.on('response', (response) => textOf(response).then(resolve, reject))
    body.pipe(outgoing)
  })
  const { accepted } = JSON.parse(answer.trim().split('\n').at(-1)!) as { accepted: number }
  if (accepted !== count) throw new Error(`${accepted} of ${count} messages were taken`)
}
