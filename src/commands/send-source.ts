/** What `mailroom send` sends, and what it prints of it. */
import { statSync } from 'node:fs'
import { MailroomError } from '../runtime/errors.ts'
import type { ClientConfig } from '../settings/client-settings.ts'

/** Where the texts come from. */
export type Source =
  | { text: string }
  /**
   * A file, `-` is standard input: one message a line, or with `whole` one message. `totalBytes` is 0 when
   * nobody knows.
   */
  | { path: string; totalBytes: number; whole: boolean; skipEmpty: boolean }

/** What is printed of each message, in the order of the source. */
export type Receipts = 'none' | 'ids' | 'json'

/** Makes a source of what was typed. @throws {MailroomError} `MR_CONFIG_INVALID` unless there is exactly one. */
export function sourceOf(
  text: string | undefined,
  { file, whole, skipEmpty }: Pick<ClientConfig, 'file' | 'whole' | 'skipEmpty'>,
): Source {
  if (text !== undefined && file !== null) throw invalid('Expected either a text or `--file`, got both')
  if (whole && skipEmpty) throw invalid('Expected either `--whole` or `--skip-empty`, got both')
  const path = text === '-' ? text : file
  if (path !== null) {
    return { path, totalBytes: path === '-' ? 0 : statSync(path).size, whole, skipEmpty }
  }
  if (text === undefined)
    throw invalid('Expected a text, - for standard input, or `--file`, got nothing to send')
  if (skipEmpty)
    throw invalid('Expected `--skip-empty` with lines of a file or of standard input, got a text')
  return { text }
}

/** A text that was typed is answered with its id: there is only one. */
export function receiptsOf(source: Source, { json, ids }: Pick<ClientConfig, 'json' | 'ids'>): Receipts {
  if (json) return 'json'
  return ids || 'text' in source ? 'ids' : 'none'
}

function invalid(problem: string): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', { problems: [problem] })
}
