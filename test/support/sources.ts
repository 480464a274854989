/** Sources as a file declares them, without a file. */

import type { Source, Sources } from '../../src/inbox/source.ts'
import { readSources, type SourcesContext } from '../../src/inbox/sources.ts'

export const FILE = '/etc/mailroom/sources.json'

/** What a file declares, as a node reads it. @param file JSON, or a text that may be none. */
export function sourcesOf(file: unknown, context: Partial<SourcesContext> = {}): Sources {
  const { read = notThere, ...rest } = context
  const text = typeof file === 'string' ? file : JSON.stringify(file)
  return readSources(FILE, {
    ...{ env: {}, maxMessageBytes: 1024 * 1024, mayBeOpen: true, ...rest },
    read: (path) => (path === FILE ? Buffer.from(text) : read(path)),
  })
}

/** One source, whose secrets are those given; as a worker gets it over IPC. */
export function sourceOf(declared: object, ...secrets: (string | Buffer)[]): Source {
  const secret = secrets.map((_, at) => `file:/${at}`)
  const file = { it: { ...declared, ...(secrets.length > 0 && { secret }) } }
  const sources = sourcesOf(file, {
    env: { VERIFY: 'verify me' },
    read: (path) => Buffer.from(secrets[Number(path.slice(1))]!),
  })
  return JSON.parse(JSON.stringify(sources))['it']
}

function notThere(path: string): never {
  throw new Error(`ENOENT: no such file or directory, open '${path}'`)
}
