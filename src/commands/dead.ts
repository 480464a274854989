/** `mailroom dead`: messages whose handler kept failing. */
import { createInterface } from 'node:readline'
import { type ApiClient, ApiError, type Unreachable } from '../http/api-client.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { PAGE_MAX_COUNT } from '../storage/limits.ts'
import { counted, ProgressBar, print, printable, report } from './terminal.ts'

interface Letter {
  id: string
  text: string
  deadAt: string
  attempts: number
  lastError: string
}

const SHOWN_CHARACTERS = 60
/** Dead letters that are replayed or deleted at a time. */
const IN_FLIGHT_COUNT = 16
const NONE = 'There are no dead letters'

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
  if (count === 0 && !json) report(NONE)
}

/** Shows one dead letter, as JSON. */
export async function show(client: ApiClient, id: string): Promise<void> {
  print(printable(await client.insist('GET', pathOf(id)), 2))
}

/**
 * Makes one dead letter, or all, pending again. Of all, one that becomes a dead letter again meanwhile is not
 * replayed twice.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` unless there is either an id or `all`.
 */
export async function replay(
  client: ApiClient,
  id: string | undefined,
  { all }: { all: boolean },
): Promise<void> {
  checkOneOrAll(id, all)
  if (id === undefined) {
    const count = await changeAll(client, 'POST', await idsOf(client), 'replayed')
    print(`${counted(count, 'message')} ${count === 1 ? 'is' : 'are'} pending again`)
  } else {
    await change(client, 'POST', id)
    print(`${id} is pending again`)
  }
}

/**
 * Deletes one dead letter, or all that there are when it begins; their messages stay in the log. Asks before it
 * deletes all, unless `yes`.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` unless there is either an id or `all`, and for `all` without a
 * terminal and without `yes`.
 */
export async function purge(
  client: ApiClient,
  id: string | undefined,
  { all, yes }: { all: boolean; yes: boolean },
): Promise<void> {
  checkOneOrAll(id, all)
  if (id !== undefined) {
    await change(client, 'DELETE', id)
    return print(`Deleted dead letter ${id}; its message stays in the log`)
  }
  if (!yes && !(process.stdin.isTTY && process.stderr.isTTY)) {
    throw invalidConfig('Expected `--yes` to be given with `--all`: without a terminal nobody can be asked')
  }
  const ids = await idsOf(client)
  if (ids.length === 0) return report(NONE)
  if (
    !yes &&
    !(await isConfirmed(`Delete ${counted(ids.length, 'dead letter')}? The messages stay in the log.`))
  ) {
    process.exitCode = 1
    return report('Nothing was deleted')
  }
  const count = await changeAll(client, 'DELETE', ids, 'deleted')
  print(
    `Deleted ${counted(count, 'dead letter')}; ${count === 1 ? 'its message stays' : 'their messages stay'} in the log`,
  )
}

function checkOneOrAll(id: string | undefined, all: boolean): void {
  if ((id !== undefined) === all) {
    throw invalidConfig(`Expected either an id or \`--all\`, got ${all ? 'both' : 'neither'}`)
  }
}

/**
 * Replays (POST) or deletes (DELETE) dead letters, several at a time. Shows the progress on a terminal, and how far it
 * came when it fails or is interrupted.
 *
 * @returns How many it has changed; the others were replayed or deleted by another client meanwhile.
 */
async function changeAll(
  client: ApiClient,
  method: 'POST' | 'DELETE',
  ids: readonly string[],
  changed: string,
): Promise<number> {
  const bar = process.stderr.isTTY ? new ProgressBar(process.stderr, ids.length) : undefined
  const rest = ids.values()
  let [doneCount, changedCount] = [0, 0]
  let failure: unknown
  const soFar = () => `${changedCount} of ${counted(ids.length, 'dead letter')} ${changed}`
  const forget = onInterrupt(() => report(`Interrupted: ${soFar()}; up to ${IN_FLIGHT_COUNT} more may be`))
  const changeRest = async () => {
    for (const id of rest) {
      if (failure !== undefined) return
      try {
        await change(client, method, id)
        changedCount++
      } catch (error) {
        if (!isNotFound(error)) failure ??= error
      }
      bar?.update(++doneCount, `${changedCount} ${changed}`)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT_COUNT }, changeRest))
  forget()
  bar?.clear()
  if (failure === undefined) return changedCount
  report(`Failed: ${soFar()}`)
  throw failure
}

/** Replays or deletes one dead letter. @throws {ApiError} `MR_NOT_FOUND`, unless a lost answer explains it. */
async function change(client: ApiClient, method: 'POST' | 'DELETE', id: string): Promise<void> {
  let isUnsure = false
  const onRetry = (error: ApiError | Unreachable) => {
    isUnsure ||= !(error instanceof ApiError && error.isOutcomeNone)
  }
  try {
    await client.insist(method, method === 'POST' ? `${pathOf(id)}/replay` : pathOf(id), { onRetry })
  } catch (error) {
    if (!(isUnsure && isNotFound(error))) throw error
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.code === 'MR_NOT_FOUND'
}

/** Asks on the terminal. The end of the input is a no; Ctrl-C ends the process. */
async function isConfirmed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: false })
  process.stderr.write(`${question} [y/N] `)
  try {
    for await (const line of terminal) return /^y(es)?$/i.test(line.trim())
    return false
  } finally {
    terminal.close()
  }
}

async function idsOf(client: ApiClient): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of letters(client)) ids.push(id)
  return ids
}

async function* letters(client: ApiClient): AsyncGenerator<Letter> {
  let path: string | null = `/dead?limit=${PAGE_MAX_COUNT}`
  while (path !== null) {
    const page: { items: Letter[]; next: string | null } = await client.insist('GET', path)
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
