/** `mailroom dead`: messages whose handler kept failing. */

import { type ApiClient, ApiError } from '../http/api-client.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { PAGE_MAX_COUNT } from '../storage/limits.ts'
import { print, printable } from './terminal.ts'

interface Letter {
  id: string
  text: string
  deadAt: string
  attempts: number
  lastError: string
}

const SHOWN_CHARACTERS = 60

/** Lists all dead letters, oldest first; with `json` each as a whole, one a line. */
export async function list(client: ApiClient, { json }: { json: boolean }): Promise<void> {
  let count = 0
  for await (const letter of letters(client)) {
    const { id, deadAt, attempts, lastError, text } = letter
    print(
      json
        ? printable(letter)
        : `${id}  ${deadAt}  ${attempts}x  ${shortened(lastError)}  ${shortened(text)}`,
    )
    count++
  }
  if (count === 0 && !json) process.stderr.write('There are no dead letters\n')
}

/** Shows one dead letter, as JSON. */
export async function show(client: ApiClient, id: string): Promise<void> {
  print(printable(await client.call('GET', pathOf(id)), 2))
}

/**
 * Makes one dead letter, or all, pending again.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` unless there is either an id or `all`.
 */
export async function replay(
  client: ApiClient,
  id: string | undefined,
  { all }: { all: boolean },
): Promise<void> {
  if ((id !== undefined) === all) {
    throw invalidConfig(`Expected either an id or \`--all\`, got ${all ? 'both' : 'neither'}`)
  }
  if (id === undefined) return replayAll(client)
  await client.call('POST', `${pathOf(id)}/replay`)
  print(`${id} is pending again`)
}

/** A message that becomes a dead letter again meanwhile is not replayed twice. */
async function replayAll(client: ApiClient): Promise<void> {
  let count = 0
  for await (const { id } of letters(client)) {
    try {
      await client.call('POST', `${pathOf(id)}/replay`)
      count++
    } catch (error) {
      // Replayed or purged by another client meanwhile.
      if (!(error instanceof ApiError && error.code === 'MR_NOT_FOUND')) throw error
    }
  }
  print(`${count} ${count === 1 ? 'message is' : 'messages are'} pending again`)
}

/** Deletes one dead letter; the message stays in the log. */
export async function purge(client: ApiClient, id: string): Promise<void> {
  await client.call('DELETE', pathOf(id))
  print(`Deleted dead letter ${id}; its message stays in the log`)
}

async function* letters(client: ApiClient): AsyncGenerator<Letter> {
  let path: string | null = `/dead?limit=${PAGE_MAX_COUNT}`
  while (path !== null) {
    const page: { items: Letter[]; next: string | null } = await client.call('GET', path)
    yield* page.items
    path = page.next
  }
}

function pathOf(id: string): string {
  return `/dead/${encodeURIComponent(id)}`
}

function shortened(text: string): string {
  return printable(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text)
}
