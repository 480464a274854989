/** Streams of lines by clients of other languages: each ends in an orderly way, with a line that says why. */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { System } from '../support/system.ts'

const CLIENTS = new URL('../support/clients/', import.meta.url).pathname

/** By name: what posts its standard input to a URL and prints the answer. */
const COMMANDS: Record<string, (url: string) => string[]> = {
  Java: (url) => ['java', `${CLIENTS}Stream.java`, url],
  Python: (url) => ['python3', `${CLIENTS}stream.py`, url],
  curl: (url) => [
    'curl',
    '--no-progress-meter',
    '-N',
    '-H',
    'Content-Type: application/x-ndjson',
    '-X',
    'POST',
    '-T',
    '.',
    url,
  ],
}

interface Line {
  line: number
  id?: string
  error?: { code: string; detail: string; outcome: string }
}

/** A client that runs. */
class Client {
  readonly process: ChildProcessWithoutNullStreams
  readonly ended: Promise<{ code: number | null; lines: Line[]; complaints: string }>
  stdout = ''

  constructor(name: string, url: string) {
    const [command, ...args] = COMMANDS[name]!(url)
    this.process = spawn(command!, args)
    let stderr = ''
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    this.process.stdin.on('error', () => {})
    this.ended = once(this.process, 'close').then(([code]) => ({
      code: code as number | null,
      lines: this.stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)])),
      complaints: stderr,
    }))
  }

  write(text: string): void {
    this.process.stdin.write(text)
  }
}

/** The answer has every line once, ids first, then the reason of the end for the first line that was not stored. */
function assertCut(lines: Line[], code: string): void {
  const { code: found, outcome } = lines.at(-1)?.error ?? {}
  assert.deepEqual(
    [found, outcome],
    [code, 'none'],
    `the last of ${lines.length} lines is ${JSON.stringify(lines.at(-1))}`,
  )
  lines.forEach(({ line, id }, index) => {
    assert.equal(line, index + 1)
    if (index < lines.length - 1) assert.equal(typeof id, 'string')
  })
}

const SMALL = ['--logging', '1', '--messages', '1']

test('a stream through a restart of the facade ends with a line that every client can read', async (context) => {
  const system = await System.start(context, SMALL)
  const names = Object.keys(COMMANDS)
  const clients = names.map((name) => new Client(name, `${system.url}/messages`))
  const pulse = setInterval(() => {
    for (const [index, client] of clients.entries()) client.write(`{"text":"${names[index]}"}\n`)
  }, 10)
  context.after(() => {
    clearInterval(pulse)
    for (const { process } of clients) process.kill()
  })
  // One that starts late would send to the new facade.
  await system.until('all three send', async () => {
    const { items } = await system.get<{ items: { text: string }[] }>('/log?limit=1000')
    return names.every((name) => items.some(({ text }) => text === name))
  })
  await sleep(1500)
  const restarted = system.send('POST', '/actors/facade/restart')
  await system.until(
    'all streams are cut',
    async () => system.output.split('a stream was cut short').length > clients.length,
  )
  await sleep(1000)
  clearInterval(pulse)
  for (const { process } of clients) process.stdin.end()
  for (const { ended } of clients) {
    const { lines, complaints, code } = await ended
    assert.deepEqual([complaints, code], ['', 0])
    assertCut(lines, 'MR_DRAINING')
    assert.ok(lines.length > 10)
  }
  await restarted
})

test('a client that is silent for --keep-alive is told', async (context) => {
  const system = await System.start(context, [...SMALL, '--keep-alive', '1s'])
  const client = new Client('curl', `${system.url}/messages`)
  client.write('{"text":"a"}\n')
  for (let turn = 0; turn < 4; turn++) {
    await sleep(500)
    client.write('\n')
  }
  await system.until('the end is told', async () => client.stdout.includes('MR_REQUEST_TIMEOUT'))
  client.process.stdin.end()
  const { lines } = await client.ended
  assert.deepEqual([lines.length, lines[0]!.line, lines[1]!.line], [2, 1, 2])
})

test('a client that reads only at the end is told which of 800,000 lines are stored', async (context) => {
  const system = await System.start(context, SMALL)
  // The kernel's buffers hold up to 38 MB of an answer that nobody reads, here that of 540,000 lines.
  const line = '{"text":"a"}\n'
  const body = line.repeat(800_000)
  const clients = ['Java', 'Python'].map((name) => new Client(name, `${system.url}/messages`))
  const errorsOnly = new Client('Python', `${system.url}/messages?acks=errors`)
  for (const { process } of clients) process.stdin.end(body)
  errorsOnly.process.stdin.end(line.repeat(40_000))
  for (const { ended } of clients) {
    const { lines, complaints } = await ended
    assert.equal(complaints, '')
    assertCut(lines, 'MR_ANSWER_UNREAD')
  }
  assert.match(system.output, /a stream was cut short/)
  const { lines } = await errorsOnly.ended
  assert.deepEqual(lines as unknown, [{ lines: 40_000, accepted: 40_000, refused: 0 }])
})
