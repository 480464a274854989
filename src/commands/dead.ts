/** `mailroom dead`: the messages that could not be handled. */
import type { ApiClient } from '../http/api-client.ts'

interface Letter {
  id: string
  text: string
  at: string
  reason: string
  attempts: number
  firstError: string
  lastError: string
  deadAt: string
}

const TEXT_SHOWN = 60

/** Lists all dead letters, oldest first; with `json` one a line. */
export async function list(client: ApiClient, { json }: { json: boolean }): Promise<void> {
  for await (const letter of letters(client)) {
    if (json) print(JSON.stringify(letter))
    else
      print(
        `${letter.id}  ${letter.deadAt}  ${letter.attempts}x  ${letter.lastError}  ${shortened(letter.text)}`,
      )
  }
}

/** Shows one dead letter. */
export async function show(client: ApiClient, id: string): Promise<void> {
  print(JSON.stringify(await client.call('GET', `/dead/${encodeURIComponent(id)}`), null, 2))
}

/** Puts one dead letter, or all of them, back into the line. */
export async function replay(client: ApiClient, id: string | undefined): Promise<void> {
  if (id !== undefined) {
    await client.call('POST', `/dead/${encodeURIComponent(id)}/replay`)
    print(`${id} waits again`)
    return
  }
  let count = 0
  for await (const letter of letters(client)) {
    await client.call('POST', `/dead/${letter.id}/replay`)
    count++
  }
  print(`${count} ${count === 1 ? 'message waits' : 'messages wait'} again`)
}

/** Forgets one dead letter for good. */
export async function purge(client: ApiClient, id: string): Promise<void> {
  await client.call('DELETE', `/dead/${encodeURIComponent(id)}`)
  print(`${id} is gone; it stays in the log`)
}

async function* letters(client: ApiClient): AsyncGenerator<Letter> {
  let path: string | null = '/dead?limit=1000'
  while (path !== null) {
    const page: { items: Letter[]; next: string | null } = await client.call('GET', path)
    yield* page.items
    path = page.next
  }
}

function shortened(text: string): string {
  const line = JSON.stringify(text)
  return line.length > TEXT_SHOWN ? `${line.slice(0, TEXT_SHOWN)}…` : line
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
