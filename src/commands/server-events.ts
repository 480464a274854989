/** Reads server-sent events: the part of the format that `GET /events` uses. */

/** One event, or, without a name, only a cursor. `id`: the cursor so far; undefined before the first. */
export interface ServerEvent {
  event: string | undefined
  id: string | undefined
  data?: unknown
}

/**
 * The events of a stream. What is cut off in the middle of an event is left out.
 *
 * @param chunks Text, cut anywhere.
 */
export async function* serverEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = ''
  let id: string | undefined
  for await (const chunk of chunks) {
    const frames = (rest + chunk).split('\n\n')
    rest = frames.pop()!
    for (const frame of frames) {
      const fields = new Map(frame.split('\n').map(fieldOf))
      id = fields.get('id') ?? id
      const data = fields.get('data')
      if (data === undefined) yield { event: undefined, id }
      else yield { event: fields.get('event') ?? 'message', id, data: JSON.parse(data) }
    }
  }
}

function fieldOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()]
}
