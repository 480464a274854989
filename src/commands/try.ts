/** `mailroom try`: sends a signed sample to a source of a running node, and says what became of it. */
import type { ApiClient } from '../http/api-client.ts'
import { sampleOf } from '../inbox/sample.ts'
import { sourceOf } from '../inbox/source.ts'
import { readSources } from '../inbox/sources.ts'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import { didYouMean, environment, invalidConfig } from '../settings/settings-reader.ts'
import { idGenerator } from '../storage/ids.ts'
import { MESSAGE_MAX_BYTES } from '../storage/limits.ts'
import { print, printable, report } from './terminal.ts'

/** The node has checked the file against its own settings. */
const ANY_NODE = { maxMessageBytes: MESSAGE_MAX_BYTES, mayBeOpen: true }
/** What may be wrong, by the status of the answer. */
const HINTS: Record<number, string> = {
  401: 'The log of the node says why. Has it the same file and the same secrets? It reads the file when it starts and at `mailroom restart facade`, and variables only when it starts.',
  404: 'The node has no such source. It reads the file of `--sources` when it starts, and again at `mailroom restart facade`.',
}

/**
 * Sends one sample, as the sender of the source would sign it, and prints the request (without a secret), the answer,
 * and where to look next. The exit code is 1 when the node refuses it. With `json` it prints `{request, answer}`.
 *
 * @param options.sources The file that the node was started with.
 * @throws {MailroomError} `MR_CONFIG_INVALID` without a file, for a file that is wrong, and for an unknown source.
 * @throws {Unreachable} When no answer arrives; the sample may be stored.
 */
export async function tryOut(
  client: ApiClient,
  name: string,
  {
    sources: file,
    url,
    token,
    json,
  }: { sources: string | null; url: string; token: string | null; json: boolean },
): Promise<void> {
  if (file === null)
    throw invalidConfig('Expected `--sources` to be the file of sources that the node was started with')
  const sources = readSources(file, { env: environment(), ...ANY_NODE })
  const source = sourceOf(sources, name)
  if (source === undefined) {
    const known = Object.keys(sources)
    const expected = `Expected the source to be one of ${known.join(', ')}`
    throw invalidConfig(`${expected}, got ${JSON.stringify(name)}${didYouMean('', name, known)}`)
  }
  const [id] = idGenerator(clock, random)(1)
  const { headers, body, secretHeader } = sampleOf(source, { id: id!, nowMs: clock.now() })
  const shown = Object.entries(headers).map(
    ([header, value]) => [header, header === secretHeader ? '(the secret)' : value] as const,
  )
  if (!json) {
    print(`POST ${url}/in/${name}`)
    for (const [header, value] of shown) print(`${header}: ${value}`)
    print(`\n${body}\n`)
  }
  const { status, location, text } = await client.post(`/in/${name}`, { headers, body })
  if (json) {
    const request = { method: 'POST', url: `${url}/in/${name}`, headers: Object.fromEntries(shown), body }
    print(printable({ request, answer: { status, location: location ?? null, body: text } }))
  } else print(`${status} ${text === '' ? '(empty)' : shownText(text)}`)
  if (status >= 200 && status <= 299) {
    // In double quotes, so that the shell puts the token in: it is not shown.
    const auth = token === null ? '' : ` -H "Authorization: Bearer $MAILROOM_TOKEN"`
    report(`\nIt is stored. What became of it: curl '${url}${location ?? '/messages/ID'}?wait=30'${auth}`)
    return
  }
  process.exitCode = 1
  const hint = HINTS[status]
  if (hint !== undefined) report(`\n${hint}`)
}

/** An answer of one line as it is, if it is JSON; any other text is escaped. */
function shownText(text: string): string {
  try {
    return printable(JSON.parse(text))
  } catch {
    return printable(text.slice(0, 1000))
  }
}
