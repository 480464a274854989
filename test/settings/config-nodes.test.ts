/** The settings of several nodes and of the Hazelcast backend: how they are read, and what fits together. */
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import test from 'node:test'
import { isMailroomError } from '../../src/runtime/errors.ts'
import { type Config, isJournaled, isOneOfSeveral, resolveConfig } from '../../src/settings/config.ts'

const SECRET = 'a-secret-of-some-length'
/** What a node beside others needs. */
const ONE_OF_SEVERAL = {
  backend: 'hazelcast',
  peers: 'logging:7100',
  'internal-host': '0.0.0.0',
  'internal-port': '7100',
  secret: SECRET,
}

const resolve = (flags: Record<string, string>): Config => resolveConfig({ flags, env: {} })

function problemsOf(flags: Record<string, string>): readonly string[] {
  try {
    resolve(flags)
  } catch (error) {
    if (isMailroomError(error, 'MR_CONFIG_INVALID')) return error.details.problems
    throw error
  }
  return []
}

test('one node needs no setting of several nodes', () => {
  const config = resolve({})
  const { peers, node, internalHost, internalPort, secret, backend } = config
  assert.deepEqual(
    { peers, node, internalHost, internalPort, secret, backend },
    {
      ...{ peers: [], node: hostname(), internalHost: '127.0.0.1', internalPort: null, secret: null },
      backend: 'embedded',
    },
  )
  assert.equal(isOneOfSeveral(config), false)
})

test('--peers takes names or addresses, each with a port', () => {
  const config = resolve({ ...ONE_OF_SEVERAL, peers: 'logging:7100,10.0.0.7:1,[fd00::1]:65535' })
  assert.deepEqual(config.peers, [
    { host: 'logging', port: 7100 },
    { host: '10.0.0.7', port: 1 },
    { host: 'fd00::1', port: 65_535 },
  ])
  assert.equal(isOneOfSeveral(config), true)
})

test('bad --peers are refused', () => {
  for (const peers of [
    'logging',
    'logging:0',
    'logging:65536',
    'a:1,,b:1',
    'fd00::1:7100',
    'http://a:1',
    'a:1, b:1',
  ]) {
    assert.match(problemsOf({ ...ONE_OF_SEVERAL, peers })[0] ?? '', /`--peers` to be HOST:PORT/, peers)
  }
})

test('a Hazelcast cluster is a name and members', () => {
  const { hazelcastLogging, hazelcastQueue } = resolve({
    backend: 'hazelcast',
    'hazelcast-queue': 'line@hz-1:5701,[::1]:5702',
  })
  assert.deepEqual(hazelcastLogging, { clusterName: 'logging', members: ['127.0.0.1:5701'] })
  assert.deepEqual(hazelcastQueue, { clusterName: 'line', members: ['hz-1:5701', '[::1]:5702'] })
  for (const value of ['hz-1:5701', '@hz-1:5701', 'line@', 'line@hz-1', 'line@hz-1:5701,']) {
    assert.match(problemsOf({ 'hazelcast-queue': value })[0] ?? '', /to be NAME@HOST:PORT/, value)
  }
})

test('a node may have 0 actors of a role only with --peers', () => {
  const { counts } = resolve({ ...ONE_OF_SEVERAL, facade: '0', messages: '0' })
  assert.deepEqual(counts, { facade: 0, logging: 3, messages: 0 })
  assert.match(problemsOf({ facade: '0' })[0] ?? '', /`--facade` to be 1 at least with the embedded backend/)
  assert.match(
    problemsOf({ backend: 'hazelcast', messages: '0' })[0] ?? '',
    /`--messages` to be 1 at least without `--peers`/,
  )
  const none = { facade: '0', logging: '0', messages: '0' }
  assert.deepEqual(problemsOf({ ...ONE_OF_SEVERAL, ...none }), [
    'Expected one of `--facade`, `--logging` and `--messages` to be 1 at least, got 0 for all',
  ])
})

test('only a node with a facade listens on --host, and needs a token or --open beyond this machine', () => {
  assert.match(problemsOf({ ...ONE_OF_SEVERAL, host: '0.0.0.0' })[0] ?? '', /`--token` to be given/)
  assert.deepEqual(problemsOf({ ...ONE_OF_SEVERAL, host: '0.0.0.0', facade: '0' }), [])
})

test('all contradictions are named at once, and no secret is shown', () => {
  const problems = problemsOf({ peers: 'logging:7100', messages: '17', lanes: '16', host: '0.0.0.0' })
  assert.equal(problems.length, 5)
  for (const flag of ['--messages', '--token', '--peers', '--internal-port', '--secret']) {
    assert.ok(
      problems.some((problem) => problem.startsWith(`Expected \`${flag}\``)),
      flag,
    )
  }
  const [short] = problemsOf({ ...ONE_OF_SEVERAL, secret: 'too-short' })
  assert.match(short ?? '', /`--secret` to be 16 to 512 visible ASCII characters, got something else/)
})

test('a secret is needed wherever more than this machine reaches the internal servers', () => {
  assert.deepEqual(problemsOf({ 'internal-host': '0.0.0.0' }), [
    'Expected `--secret` to be given as `--internal-host` is 0.0.0.0',
  ])
  assert.deepEqual(problemsOf({ 'internal-host': '0.0.0.0', secret: SECRET }), [])
})

test('--messages is compared with --lanes before a cluster is asked', () => {
  assert.match(problemsOf({ backend: 'hazelcast', messages: '17' })[0] ?? '', /which is 16, got 17/)
  assert.deepEqual(problemsOf({ backend: 'hazelcast', messages: '17', lanes: '17' }), [])
})

test('a node without a facade needs no token', () => {
  const flags = { ...ONE_OF_SEVERAL, host: '0.0.0.0' }
  assert.deepEqual(problemsOf({ ...flags, facade: '0' }), [])
  assert.match(problemsOf(flags)[0] ?? '', /`--token` to be given/)
})

test('there is a journal on Hazelcast, unless it is turned off', () => {
  assert.equal(isJournaled(resolve({ backend: 'hazelcast' })), true)
  assert.equal(isJournaled(resolve({ backend: 'hazelcast', journal: 'on' })), true)
  assert.equal(isJournaled(resolve({ backend: 'hazelcast', journal: 'off' })), false)
  assert.equal(isJournaled(resolve({})), false)
  assert.deepEqual(problemsOf({ journal: 'off' }), [])
  assert.match(problemsOf({ journal: 'on' })[0] ?? '', /`--journal` not to be on with the embedded backend/)
})
