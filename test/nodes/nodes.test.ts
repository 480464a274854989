/** How a node keeps the others: found by name, kept while they answer, forgotten when silent. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { pino } from 'pino'
import { Nodes } from '../../src/nodes/nodes.ts'
import { NodeFigures } from '../../src/runtime/cluster/node-figures.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import { FakeClock, settle } from '../support/fake-clock.ts'
import { FakeNetwork, nodeOf } from '../support/fake-network.ts'

const SELF = { node: 'here', startId: 'start of here' }

let clock: FakeClock
let network: FakeNetwork
let nodes: Nodes
let changeCount: number
let logged: { level: number; msg: string }[]

beforeEach(() => {
  clock = new FakeClock()
  network = new FakeNetwork(clock)
  changeCount = 0
  logged = []
  nodes = create()
})

function create(
  peers = [
    { host: 'logging', port: 7100 },
    { host: 'messages', port: 7200 },
  ],
): Nodes {
  const logger = pino({ level: 'info' }, { write: (line: string) => logged.push(JSON.parse(line)) })
  return new Nodes({ peers, self: SELF, network, clock, logger, onChange: () => changeCount++ })
}

afterEach(() => nodes.stop())

const names = () => nodes.actors().map(({ name }) => name)
const seen = () => nodes.actors().map(({ name, state, address }) => ({ name, state, address }))
/** Warnings, but for those of names that a test gives no address. */
const warnings = () => nodes.warnings().filter((line) => !line.includes('has no address'))
const linesOf = (pattern: RegExp) => logged.filter(({ msg }) => pattern.test(msg))

test('a name with several addresses is several nodes; an actor has the address its node was reached at', async () => {
  network.names.set('logging', ['10.0.0.1', 'fd00::2'])
  network.names.set('messages', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1', 'logging-2']))
  network.listeners.set('[fd00::2]:7100', nodeOf('b', ['logging-1']))
  network.listeners.set('10.0.0.1:7200', nodeOf('c', ['messages-1']))
  nodes.start()
  await settle()
  assert.deepEqual(seen(), [
    { name: 'logging-1@a', state: 'ready', address: '10.0.0.1:9001' },
    { name: 'logging-2@a', state: 'ready', address: '10.0.0.1:9002' },
    { name: 'logging-1@b', state: 'ready', address: '[fd00::2]:9001' },
    { name: 'messages-1@c', state: 'ready', address: '10.0.0.1:9001' },
  ])
  assert.ok(changeCount > 0)
  assert.deepEqual(warnings(), [])
})

test('every actor has the status that its node reports; one without a server has no address', async () => {
  network.names.set('messages', ['10.0.0.1'])
  const more = { lanes: { 3: 7 }, dead: 2, handled: 9, state: 'draining', address: null } as const
  network.listeners.set('10.0.0.1:7200', nodeOf('c', ['messages-1'], { more }))
  nodes.start()
  await settle()
  const [actor] = nodes.actors()
  const { lanes, dead, handled, state, address, node } = actor!
  assert.deepEqual({ lanes, dead, handled, state, address, node }, { ...more, node: 'c' })
  assert.ok(!('port' in actor!))
})

test('a node whose clock differs by more than a second is named, until it does not', async () => {
  network.names.set('logging', ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1', 'logging-2']))
  network.listeners.set('10.0.0.2:7100', nodeOf('b', ['logging-1']))
  network.listeners.set('10.0.0.3:7100', nodeOf('c', ['logging-1']))
  network.skewsMs.set('10.0.0.1:7100', 4040)
  network.skewsMs.set('10.0.0.2:7100', -1001)
  network.skewsMs.set('10.0.0.3:7100', 1000)
  nodes.start()
  await settle()
  assert.deepEqual(warnings(), [
    "the clock of node a is 4.0 s ahead of this node's",
    "the clock of node b is 1.0 s behind this node's",
  ])
  network.skewsMs.clear()
  await clock.advance(1000)
  assert.deepEqual(warnings(), [])
})

test('a node ignores itself under each of its addresses', async () => {
  network.names.set('logging', ['10.0.0.1', '10.0.0.2'])
  for (const address of ['10.0.0.1:7100', '10.0.0.2:7100']) {
    network.listeners.set(address, nodeOf('here', ['logging-1'], { startId: SELF.startId }))
  }
  nodes.start()
  await clock.advance(10_000)
  assert.deepEqual(names(), [])
  assert.deepEqual(warnings(), [])
  assert.deepEqual(linesOf(/node/), [])
})

test('a node with two addresses counts once', async () => {
  network.names.set('logging', ['10.0.0.1', '10.0.0.2'])
  for (const address of ['10.0.0.1:7100', '10.0.0.2:7100']) {
    network.listeners.set(address, nodeOf('a', ['logging-1']))
  }
  nodes.start()
  await clock.advance(10_000)
  assert.deepEqual(names(), ['logging-1@a'])
  assert.deepEqual(warnings(), [])
})

test('names are looked up every second: a new address is a new node', async () => {
  nodes.start()
  await clock.advance(3000)
  assert.deepEqual(names(), [])
  network.names.set('logging', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1']))
  await clock.advance(1000)
  assert.deepEqual(names(), ['logging-1@a'])
  network.names.set('logging', ['10.0.0.1', '10.0.0.2'])
  network.listeners.set('10.0.0.2:7100', nodeOf('b', ['logging-1']))
  await clock.advance(1000)
  assert.deepEqual(names(), ['logging-1@a', 'logging-1@b'])
})

for (const [how, listener] of [
  ['frozen', 'frozen'],
  ['dead', undefined],
] as const) {
  test(`a ${how} node is called no more after 3 s, and is forgotten with its lanes after 5 s`, async () => {
    network.names.set('messages', ['10.0.0.1'])
    const answer = nodeOf('c', ['messages-1'])
    network.listeners.set('10.0.0.1:7200', answer)
    nodes.start()
    await clock.advance(4000)
    if (listener === undefined) network.listeners.delete('10.0.0.1:7200')
    else network.listeners.set('10.0.0.1:7200', listener)
    await clock.advance(2900)
    assert.deepEqual(
      seen().map(({ state }) => state),
      ['ready'],
    )
    await clock.advance(100)
    assert.deepEqual(
      seen().map(({ state }) => state),
      ['restarting'],
    )
    await clock.advance(1900)
    assert.deepEqual(names(), ['messages-1@c'])
    await clock.advance(100)
    assert.deepEqual(names(), [])
    network.listeners.set('10.0.0.1:7200', answer)
    await clock.advance(2000)
    assert.deepEqual(
      seen().map(({ state }) => state),
      ['ready'],
    )
  })
}

test('nodes that answer are kept while their name cannot be resolved', async () => {
  network.names.set('logging', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1']))
  nodes.start()
  await clock.advance(1000)
  network.names.delete('logging')
  await clock.advance(60_000)
  assert.deepEqual(names(), ['logging-1@a'])
  assert.equal(linesOf(/^logging \(--peers\) has no address/).length, 1)
  assert.deepEqual(nodes.warnings(), [
    'messages (--peers) has no address: ENOTFOUND messages',
    'logging (--peers) has no address: ENOTFOUND logging',
  ])
  network.names.set('logging', ['10.0.0.1'])
  network.names.set('messages', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7200', nodeOf('c', ['messages-1']))
  await clock.advance(1000)
  assert.deepEqual(nodes.warnings(), [])
})

test('a lookup that hangs is not repeated and delays no other', async () => {
  let lookups = 0
  network.addressesOf = async (host) => {
    if (host === 'messages') return ['10.0.0.1']
    lookups++
    return new Promise(() => {})
  }
  network.listeners.set('10.0.0.1:7200', nodeOf('c', ['messages-1']))
  nodes.start()
  await clock.advance(10_000)
  assert.equal(lookups, 1)
  assert.deepEqual(names(), ['messages-1@c'])
})

test('a node is polled again only after its answer or its timeout', async () => {
  network.names.set('logging', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', 'frozen')
  network.directoryAt = (address) => {
    network.asked.push(address.host)
    return new Promise(() => {})
  }
  nodes.start()
  await clock.advance(4000)
  assert.deepEqual(network.asked, ['10.0.0.1'])
})

test('after this process was frozen, no other node counts as silent', async () => {
  network.names.set('messages', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7200', nodeOf('c', ['messages-1']))
  // A frozen process does not poll, and its timer fires once when it is thawed.
  let poll = () => {}
  clock.every = (_, work) => {
    poll = work
    return () => {}
  }
  nodes.start()
  await settle()
  network.listeners.set('10.0.0.1:7200', 'frozen')
  await clock.advance(60_000)
  const states: string[] = []
  for (let polls = 0; polls < 5; polls++) {
    poll()
    await clock.advance(1000)
    states.push(...nodes.actors().map(({ state }) => state))
  }
  assert.deepEqual(states, ['ready', 'ready', 'restarting', 'restarting'])
})

test('a restarted node replaces its former start at once', async () => {
  network.names.set('logging', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1', 'logging-2'], { startId: 'a' }))
  nodes.start()
  await clock.advance(1000)
  network.listeners.delete('10.0.0.1:7100')
  network.names.set('logging', ['10.0.0.9'])
  network.listeners.set('10.0.0.9:7100', nodeOf('a', ['logging-1'], { startId: 'b' }))
  await clock.advance(1000)
  assert.deepEqual(seen(), [{ name: 'logging-1@a', state: 'ready', address: '10.0.0.9:9001' }])
  await clock.advance(10_000)
  assert.deepEqual(warnings(), [])
  assert.deepEqual(linesOf(/named/), [])
})

test('of two live nodes with one name, all nodes choose the same one and name the problem', async () => {
  const addresses = ['10.0.0.1', '10.0.0.2']
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1'], { startId: 'b' }))
  network.listeners.set('10.0.0.2:7100', nodeOf('a', ['logging-1'], { startId: 'a' }))
  for (const order of [addresses, addresses.toReversed()]) {
    network.names.set('logging', order)
    nodes.stop()
    nodes = create()
    logged = []
    nodes.start()
    await clock.advance(6000)
    assert.deepEqual(seen(), [{ name: 'logging-1@a', state: 'ready', address: '10.0.0.2:9001' }])
  }
  const problem = '2 nodes are named a: give each its own name with --node'
  assert.deepEqual(warnings(), [problem])
  assert.deepEqual(
    logged.filter(({ level }) => level === 50).map(({ msg }) => msg),
    [problem],
  )
})

test('another node with this one’s name is ignored and named as a problem', async () => {
  network.names.set('logging', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', nodeOf('here', ['logging-1'], { startId: 'another' }))
  nodes.start()
  await clock.advance(6000)
  assert.deepEqual(names(), [])
  assert.match(warnings()[0] ?? '', /^2 nodes are named here/)
})

test('of several addresses of a name, one has another secret: it is no peer, named and logged once; the others are peers', async () => {
  network.names.set('logging', ['10.0.0.1', '10.0.0.2'])
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1']))
  network.listeners.set(
    '10.0.0.2:7100',
    new MailroomError('MR_FORBIDDEN', { reason: 'its secret is another' }),
  )
  const problem = 'node at 10.0.0.2:7100 (logging:7100) is no peer: its secret is another'
  nodes.start()
  await settle()
  // It calls us, too.
  nodes.refused('10.0.0.2')
  for (let second = 0; second < 30; second++) {
    assert.deepEqual([warnings(), names()], [[problem], ['logging-1@a']])
    await clock.advance(1000)
  }
  assert.equal(linesOf(/secret/).length, 1)
  network.listeners.set('10.0.0.2:7100', nodeOf('b', ['logging-1']))
  await clock.advance(1000)
  assert.deepEqual([warnings(), names()], [[], ['logging-1@a', 'logging-1@b']])
  // Restarted with another secret: its actors are called no more, as when it does not answer.
  network.listeners.set(
    '10.0.0.2:7100',
    new MailroomError('MR_FORBIDDEN', { reason: 'its secret is another' }),
  )
  await clock.advance(5000)
  assert.deepEqual([warnings(), names()], [[problem], ['logging-1@a']])
  assert.equal(linesOf(/secret/).length, 2)
})

test('a stranger that answers at an address of --peers is named by the address and logged once', async () => {
  nodes.stop()
  nodes = create([{ host: '10.0.0.1', port: 7100 }])
  network.names.set('10.0.0.1', ['10.0.0.1'])
  network.listeners.set('10.0.0.1:7100', new MailroomError('MR_NOT_FOUND', { what: 'directory' }))
  nodes.start()
  await clock.advance(30_000)
  assert.deepEqual(nodes.warnings(), ['node at 10.0.0.1:7100 is no peer: There is no directory'])
  assert.equal(linesOf(/no peer/).length, 1)
})

test('an address of --peers where nobody answers is named after 3 s and logged once, until somebody answers', async () => {
  network.names.set('logging', ['10.0.0.1'])
  nodes.start()
  await clock.advance(2000)
  assert.deepEqual(warnings(), [])
  await clock.advance(1000)
  const problem = 'node at 10.0.0.1:7100 (logging:7100) does not answer: Lost 10.0.0.1:7100: refused'
  for (let second = 0; second < 10; second++) {
    assert.deepEqual(warnings(), [problem])
    await clock.advance(1000)
  }
  assert.equal(linesOf(/does not answer/).length, 1)
  network.listeners.set('10.0.0.1:7100', nodeOf('a', ['logging-1']))
  await clock.advance(1000)
  assert.deepEqual([warnings(), names()], [[], ['logging-1@a']])
  // Scaled away: its name no longer has the address.
  network.listeners.delete('10.0.0.1:7100')
  network.names.set('logging', [])
  await clock.advance(10_000)
  assert.deepEqual([warnings(), names()], [[], []])
})

test('a caller with another secret that no name leads to is named and logged once, while it calls', async () => {
  nodes.start()
  for (let second = 0; second < 10; second++) {
    nodes.refused('10.0.0.9')
    await clock.advance(1000)
  }
  const line = "the node at 10.0.0.9 is no peer: it calls with another secret (--secret) than this node's"
  assert.deepEqual(warnings(), [line])
  assert.equal(linesOf(/secret/).length, 1)
  for (let host = 0; host < 100; host++) nodes.refused(`10.0.1.${host}`)
  assert.equal(warnings().length, 16)
  await clock.advance(6000)
  assert.deepEqual(warnings(), [])
})

test('a node without peers polls no one', async () => {
  const alone = new Nodes({
    ...{ peers: [], self: SELF, network, clock, onChange: () => changeCount++ },
    logger: pino({ level: 'silent' }),
  })
  alone.start()
  await clock.advance(10_000)
  assert.deepEqual([network.asked, alone.actors(), changeCount], [[], [], 0])
})

test('what each other node has counted is told once, however many addresses it has, and not of this node', async () => {
  const counted = (accepted: number) => {
    const figures = new NodeFigures({
      ...{ node: 'a', version: 'test', data: '', target: undefined, clock },
      actors: () => [],
      isReady: () => true,
    }).totals()
    return { ...figures, totals: { ...figures.totals, accepted } }
  }
  network.names.set('logging', ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'])
  network.listeners.set('10.0.0.1:7100', { ...nodeOf('a', ['facade-1']), figures: counted(3) })
  network.listeners.set('10.0.0.2:7100', { ...nodeOf('a', ['facade-1']), figures: counted(3) })
  network.listeners.set('10.0.0.3:7100', { ...nodeOf('b', ['facade-1']), figures: counted(4) })
  network.listeners.set('10.0.0.4:7100', { ...nodeOf(SELF.node, [], SELF), figures: counted(100) })
  nodes.start()
  await settle()
  assert.deepEqual(
    nodes.totals().map(({ totals }) => totals.accepted),
    [3, 4],
  )
})
