/** `mailroom status` in front of the real API, and against nodes that do what the test says. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, type TestContext, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { begin, runHere } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'
import { startApi } from '../support/public-api.ts'

const ACTOR = {
  ...{ name: 'messages-1', role: 'messages', pid: 7, state: 'ready', restarts: 0, handled: 0 },
  mailbox: { depth: 0, capacity: 10, refused: 0 },
}

test('status prints the readiness and the actors', async (t) => {
  const { server } = await startApi(t)
  const { code, stdout, stderr } = await runHere(['status', '--url', `http://127.0.0.1:${server.port}/`])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(
    stdout,
    /^Ready\nFailures: 4 messages wait for another attempt; .*\n\nACTOR .*\nfacade-1 +ready .*\nmessages-1 +draining .*\nmessages-2 .*\n$/,
  )
})

test('status names what is missing and damaged, and what it warns of, and exits with code 0', async (t) => {
  const { facade, server } = await startApi(t)
  facade.missingThings.push('a ready logging actor', 'messages-1: it keeps crashing')
  facade.damagedThings.push('home-3.db was damaged and has been set aside')
  facade.warned.push('the wall clock says 1970')
  const { code, stdout } = await runHere(['status', '--url', `http://127.0.0.1:${server.port}`])
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^Not ready: a ready logging actor; messages-1: it keeps crashing\nDamaged: home-3.db was damaged.*\nFailures: .*\nWarnings: the wall clock says 1970\n\nACTOR/,
  )
})

test('status says how many messages wait for another attempt, and the last error of each target', async (t) => {
  const { node } = await FakeNode.start(t)
  const failure = (target: string, seconds: number, error: string) => {
    return { target, at: new Date(Date.now() - seconds * 1000).toISOString(), error }
  }
  const actors = [
    { ...ACTOR, retrying: 3, dead: 0, lastFailure: failure('http://there/', 300, 'Answered 400') },
    { ...ACTOR, retrying: 4, dead: 0, lastFailure: failure('http://there/', 200, 'Answered \x1b 500') },
    { ...ACTOR, retrying: 0, dead: 0, lastFailure: failure('the handler', 7200, 'Error: no') },
    { ...ACTOR, lastFailure: null },
  ]
  const shown = async (some: object[]) => {
    node.script = ({ path }) => {
      return { status: 200, body: path === '/readyz' ? { status: 'ready', missing: [] } : some }
    }
    return (await runHere(['status', '--url', node.url])).stdout.split('\n')[1]
  }
  const last = 'the last failure of http://there/, 3 min ago: "Answered \\u001b 500"'
  const handler = 'the last failure of the handler, 2 h ago: "Error: no"'
  assert.equal(await shown(actors), `Failures: 7 messages wait for another attempt; ${last}; ${handler}`)
  assert.equal(await shown([{ ...actors[2], dead: 1 }]), `Failures: ${handler}`)
  assert.equal(await shown([actors[2]!]), '', 'all has been delivered since')
})

test('status --json prints the answer of GET /actors on one line', async (t) => {
  const { server, ask } = await startApi(t)
  const { code, stdout } = await runHere(['status', '--json', '--url', `http://127.0.0.1:${server.port}`])
  assert.equal(code, 0)
  assert.equal(stdout.indexOf('\n'), stdout.length - 1)
  assert.deepEqual(JSON.parse(stdout), (await ask('GET', '/actors')).json)
})

test('on a terminal status colours actors that are not ready', async (t) => {
  const { facade, server } = await startApi(t)
  facade.missingThings.push('a ready logging actor')
  const env = { FORCE_COLOR: '1', MAILROOM_URL: `http://127.0.0.1:${server.port}` }
  const { stdout } = await runHere(['status'], { env })
  const [title, , , heads, ready, draining] = stdout.split('\n')
  assert.equal(title, '\x1b[31mNot ready: a ready logging actor\x1b[39m')
  assert.ok(heads!.startsWith('\x1b[1mACTOR'), heads)
  assert.equal(ready, stripVTControlCharacters(ready!))
  assert.ok(draining!.startsWith('\x1b[33mmessages-1'), draining)
})

/** Watches a node until it has shown so many looks. */
async function watch(context: TestContext, node: FakeNode, lookCount: number, ...flags: string[]) {
  const { child, ended } = begin(['status', '--watch', ...flags, '--url', node.url])
  context.after(() => child.kill())
  let shown = ''
  child.stdout!.on('data', (piece: Buffer) => {
    shown += String(piece)
  })
  const isLook = flags.includes('--json') ? /^\[/gm : /^ACTOR/gm
  while ((shown.match(isLook)?.length ?? 0) < lookCount) await once(child.stdout!, 'data')
  child.kill('SIGINT')
  return ended
}

/** Answers `GET /actors` with what the look says. */
function script(node: FakeNode, lookOf: (look: number) => Reply | undefined): void {
  let look = 0
  node.script = ({ path }) => {
    if (path === '/readyz') return { status: 200, body: { status: 'ready', missing: [] } }
    return lookOf(++look) ?? { status: 200, body: [{ ...ACTOR, handled: look * 1000 }] }
  }
}

describe('status --watch polls every second', { concurrency: true }, () => {
  test('status --watch in a pipe polls every second, with rates from the second poll, until a signal', async (t) => {
    const { node } = await FakeNode.start(t)
    script(node, () => undefined)
    const { signal, stdout, stderr } = await watch(t, node, 3)
    assert.deepEqual([signal, stderr], ['SIGINT', ''])
    const [first, second, third] = stdout.split('Ready\n\n').slice(1)
    assert.match(first!, /DEAD\nmessages-1/)
    for (const look of [second!, third!]) {
      const rate = Number(/PER SECOND\nmessages-1 .* (\d+)\n$/.exec(look)?.[1])
      // A thousand more each look, and a look takes a second or, on a busy machine, longer.
      assert.ok(rate > 100 && rate <= 1000, look)
    }
  })

  test('status --watch --json prints one line for each poll', async (t) => {
    const { node } = await FakeNode.start(t)
    script(node, () => undefined)
    const { stdout } = await watch(t, node, 2, '--json')
    const looks = stdout.trimEnd().split('\n')
    assert.deepEqual(
      looks.slice(0, 2).map((line) => JSON.parse(line)[0].handled),
      [1000, 2000],
    )
  })

  test('status --watch reports a node that is unreachable or refuses, and polls again', async (t) => {
    const { node } = await FakeNode.start(t)
    script(node, (look) =>
      look === 2 ? 'lose' : look === 3 ? refusal(429, 'MR_OVERLOADED', 'Too many readers') : undefined,
    )
    const { stdout, stderr } = await watch(t, node, 2)
    const told = stderr.trimEnd().split('\n')
    assert.equal(told.length, 2)
    assert.match(told[0]!, /^The node at http.* does not answer any more/)
    assert.equal(told[1], 'Too many readers (MR_OVERLOADED)')
    assert.equal(stdout.match(/^ACTOR/gm)!.length, 2)
  })
})

test('status exits with code 1 when its first poll fails', async (t) => {
  const { node } = await FakeNode.start(t)
  script(node, () => refusal(503, 'MR_DRAINING', 'The node is draining'))
  for (const flags of [[], ['--watch']]) {
    const { code, stdout, stderr } = await runHere(['status', ...flags, '--timeout', '0s', '--url', node.url])
    assert.deepEqual([code, stdout, stderr], [1, '', 'mailroom: The node is draining (MR_DRAINING)\n'])
  }
})
