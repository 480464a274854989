/** `mailroom dead`: messages whose handler kept failing. All of them are changed page by page, each page by the node. */
import { createInterface } from 'node:readline'
import { type ApiClient, ApiError, type Unreachable } from '../http/api-client.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { PAGE_MAX_COUNT } from '../storage/limits.ts'
import { counted, print, printable, progressBar, report } from './terminal.ts'

interface Letter {
  id: string
  /** One of the two. */
  text?: string
  base64?: string
  type?: string
  source?: string
  deadAt: string
  attempts: number
  reason: string
  lastError: string
}

/** Which dead letters are meant; null stands for any. */
interface Filter {
  source: string | null
  /** What the reason begins with. */
  reason: string | null
  /** As `GET /dead/groups` names it. */
  group: string | null
}

/** What `GET /dead/groups` answers of a group. */
interface Group {
  group: string
  reason: string
  error: string
  count: number
  example: string
  oldestAt: string
  newestAt: string
}

/** What `POST /dead/replay` and `/dead/purge` answer. */
interface Page {
  checked: number
  replayed?: number
  purged?: number
  next: string | null
}

const SHOWN_CHARACTERS = 60
const NONE = 'There are no dead letters'

/** Lists the dead letters that are meant, oldest first; with `json` each as a whole, one a line. */
export async function list(
  client: ApiClient,
  { json, source, reason }: { json: boolean } & Omit<Filter, 'group'>,
): Promise<void> {
  let count = 0
  for await (const letter of letters(client)) {
    if (source !== null && letter.source !== source) continue
    if (reason !== null && !letter.reason.startsWith(reason)) continue
    print(json ? printable(letter) : lineOf(letter))
    count++
  }
  if (count === 0 && !json) report(none({ source, reason, group: null }))
}

function lineOf({ id, deadAt, attempts, reason, lastError, text, base64 = '', type }: Letter): string {
  const size = counted(Buffer.byteLength(base64, 'base64'), 'byte')
  const body =
    text === undefined ? `(${size}${type === undefined ? '' : `, ${printable(type)}`})` : shortened(text)
  return `${id}  ${deadAt}  ${attempts}x  ${shortened(reason)}  ${shortened(lastError)}  ${body}`
}

/** Counts the dead letters by reason and by the first line of the last error, the most first; with `json` one a line. */
export async function groups(client: ApiClient, { json }: { json: boolean }): Promise<void> {
  const all = new Map<string, Group>()
  for (let path: string | null = '/dead/groups'; path !== null; ) {
    const page: { groups: Group[]; next: string | null } = await client.insist('GET', path)
    for (const each of page.groups) all.set(each.group, joined(all.get(each.group), each))
    path = page.next
  }
  if (all.size === 0 && !json) report(NONE)
  for (const each of [...all.values()].sort((a, b) => b.count - a.count)) {
    const { group, reason, error, count } = each
    print(
      json
        ? printable(each)
        : `${String(count).padStart(7)}  ${group}  ${printable(reason)}  ${printable(error)}`,
    )
  }
}

/** The same group of two pages. */
function joined(before: Group | undefined, each: Group): Group {
  if (before === undefined) return each
  return {
    ...{ ...before, count: before.count + each.count },
    oldestAt: [before.oldestAt, each.oldestAt].sort()[0]!,
    newestAt: [before.newestAt, each.newestAt].sort()[1]!,
  }
}

/** Shows one dead letter, as JSON; with `json` in one line. */
export async function show(client: ApiClient, id: string, { json }: { json: boolean }): Promise<void> {
  print(printable(await client.insist('GET', pathOf(id)), json ? undefined : 2))
}

/**
 * Makes one dead letter, or all that are meant, pending again. With `json` it prints `{id, state}`, or `{replayed, atLeast}`. Of all, one that becomes a dead letter again meanwhile is
 * not replayed twice, unless an answer was lost.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` unless there is either an id or `all`; for a filter without `all`.
 */
export async function replay(
  client: ApiClient,
  id: string | undefined,
  { all, json, ...filter }: { all: boolean; json: boolean } & Filter,
): Promise<void> {
  checkOneOrAll(id, all, filter)
  if (id === undefined) {
    const { count, isLeast } = await changeAll(client, 'replay', filter)
    if (json) return print(JSON.stringify({ replayed: count, atLeast: isLeast }))
    const words = `${counted(count, 'message')} ${count === 1 ? 'is' : 'are'} pending again`
    print(isLeast ? `At least ${words}` : words)
  } else {
    await change(client, 'POST', id)
    print(json ? JSON.stringify({ id, state: 'queued' }) : `${id} is pending again`)
  }
}

/**
 * Deletes one dead letter, or all that are meant; their messages stay in the log. With `json` it prints `{id, state}`, or
 * `{purged, atLeast}`. Asks before it deletes all, unless
 * `yes`.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` as `replay`, and for `all` without a terminal and without `yes`.
 */
export async function purge(
  client: ApiClient,
  id: string | undefined,
  { all, yes, json, ...filter }: { all: boolean; yes: boolean; json: boolean } & Filter,
): Promise<void> {
  checkOneOrAll(id, all, filter)
  if (id !== undefined) {
    await change(client, 'DELETE', id)
    const words = `Deleted dead letter ${id}; its message stays in the log`
    return print(json ? JSON.stringify({ id, state: 'purged' }) : words)
  }
  if (!yes && (json || !(process.stdin.isTTY && process.stderr.isTTY))) {
    const nobody = json ? 'with `--json`' : 'without a terminal'
    throw invalidConfig(`Expected \`--yes\` to be given with \`--all\`: ${nobody} nobody can be asked`)
  }
  if (!yes && !(await isConfirmed(await questionOf(client, filter)))) {
    process.exitCode = 1
    return report('Nothing was deleted')
  }
  const { count, isLeast } = await changeAll(client, 'purge', filter)
  if (json) return print(JSON.stringify({ purged: count, atLeast: isLeast }))
  if (count === 0 && !isLeast) return report(none(filter))
  const words = `${counted(count, 'dead letter')}; ${count === 1 ? 'its message stays' : 'their messages stay'} in the log`
  print(`Deleted ${isLeast ? 'at least ' : ''}${words}`)
}

function checkOneOrAll(id: string | undefined, all: boolean, filter: Filter): void {
  if ((id !== undefined) === all) {
    throw invalidConfig(`Expected either an id or \`--all\`, got ${all ? 'both' : 'neither'}`)
  }
  if (!all && !isAny(filter)) {
    throw invalidConfig(
      'Expected `--source`, `--reason` and `--group` to be given with `--all` only, got an id',
    )
  }
}

/** How many there are is what the messages actors have counted last, up to a second ago. */
async function questionOf(client: ApiClient, filter: Filter): Promise<string> {
  const actors: { dead?: number }[] = await client.insist('GET', '/actors')
  const count = actors.reduce((sum, { dead = 0 }) => sum + dead, 0)
  const which = isAny(filter) ? `all dead letters (${count} now)` : `${meant(filter)} (of ${count} in all)`
  return `Delete ${which}? The messages stay in the log.`
}

function isAny({ source, reason, group }: Filter): boolean {
  return source === null && reason === null && group === null
}

function meant({ source, reason, group }: Filter): string {
  const ofSource = source === null ? '' : ` of source ${source}`
  const ofGroup = group === null ? '' : ` of group ${group}`
  return `the dead letters${ofSource}${ofGroup}${reason === null ? '' : ` whose reason begins with ${printable(reason)}`}`
}

function none(filter: Filter): string {
  return isAny(filter) ? NONE : 'There are no such dead letters'
}

/**
 * Has the node replay or delete all that are meant, page by page. Shows the progress on a terminal, and how far it came
 * when it fails or is interrupted.
 *
 * @returns How many it has changed. `isLeast`: more, when an answer was lost.
 */
async function changeAll(
  client: ApiClient,
  how: 'replay' | 'purge',
  { source, reason, group }: Filter,
): Promise<{ count: number; isLeast: boolean }> {
  const bar = progressBar(0)
  const changed = how === 'replay' ? 'replayed' : 'deleted'
  let [count, checkedCount, isLeast] = [0, 0, false]
  const onRetry = (error: ApiError | Unreachable) => {
    isLeast ||= !(error instanceof ApiError && error.isOutcomeNone)
  }
  const soFar = () => `${counted(count, 'dead letter')} ${changed}, perhaps more; run it again for the rest`
  const forget = onInterrupt(() => report(`Interrupted: ${soFar()}`))
  const query = new URLSearchParams({ limit: String(PAGE_MAX_COUNT) })
  if (source !== null) query.set('source', source)
  if (reason !== null) query.set('reason', reason)
  if (group !== null) query.set('group', group)
  try {
    for (let next: string | null = `/dead/${how}?${query}`; next !== null; ) {
      const page: Page = await client.insist('POST', next, { onRetry })
      checkedCount += page.checked
      count += page.replayed ?? page.purged ?? 0
      next = page.next
      bar?.update(0, `${checkedCount} checked, ${count} ${changed}`)
    }
  } catch (error) {
    if (checkedCount > 0) report(`Failed: ${soFar()}`)
    throw error
  } finally {
    forget()
    bar?.clear()
  }
  return { count, isLeast }
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
