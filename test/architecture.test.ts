/** The shape of the sources, as data: who may import whom, one door a dependency, no cycles. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import test from 'node:test'

/** Words that every room may use: pure functions, types and tables, without a disk, a network or a process. */
const STORAGE_WORDS = [
  'content',
  'dead-filter',
  'dead-groups',
  'ids',
  'journal',
  'lane',
  'lanes',
  'limits',
  'paging',
  'ports',
  'preview',
  'records',
].map((name) => `src/storage/${name}.ts`)

/**
 * Room -> what it may import beside itself: files, or rooms (but not the rooms within them). A room is the longest
 * of these prefixes a file's path begins with.
 */
const MAY_IMPORT: Record<string, string[]> = {
  'src/cli.ts': ['src/commands/', 'src/settings/', 'src/http/api-client.ts', 'src/runtime/'],
  'src/worker.ts': [
    ...['src/actors/facade/', 'src/actors/logging/', 'src/actors/messages/'],
    ...['src/http/', 'src/http/internal/', 'src/settings/', 'src/storage/'],
    ...['src/runtime/', 'src/runtime/cluster/'],
  ],
  'src/handler-process.ts': ['src/actors/messages/handler.ts', 'src/runtime/'],
  'src/commands/': [
    ...[
      'src/nodes/',
      'src/settings/',
      'src/inbox/',
      'src/http/api-client.ts',
      'src/runtime/',
      'src/runtime/cluster/',
    ],
    ...['src/storage/embedded/clock-file.ts', 'src/storage/embedded/data-directory.ts'],
    ...['src/storage/hazelcast/clusters-file.ts', ...STORAGE_WORDS],
  ],
  'src/nodes/': ['src/http/internal/', 'src/settings/', 'src/runtime/', 'src/runtime/cluster/'],
  'src/inbox/': ['src/runtime/errors.ts', 'src/settings/', ...STORAGE_WORDS],
  'src/http/': ['src/http/routes/', 'src/http/internal/secret.ts', ...ofHttp()],
  'src/http/routes/': ['src/http/', ...ofHttp()],
  'src/http/internal/': ofHttp(),
  'src/actors/facade/': ofActors(),
  'src/actors/logging/': ofActors(),
  'src/actors/messages/': ofActors(),
  'src/actors/': [
    ...['cluster/directory', 'history', 'losses', 'metrics', 'stats'].map((name) => `src/runtime/${name}.ts`),
    ...STORAGE_WORDS,
  ],
  'src/settings/': [
    ...['src/runtime/errors.ts', 'src/runtime/timings.ts', 'src/runtime/cluster/directory.ts'],
    ...['src/storage/dead-filter.ts', 'src/storage/ids.ts', 'src/storage/limits.ts', 'src/inbox/source.ts'],
  ],
  'src/storage/': ['src/storage/embedded/', 'src/storage/hazelcast/', 'src/storage/journal/', ...ofStorage()],
  'src/storage/embedded/': ['src/storage/', ...ofStorage()],
  'src/storage/hazelcast/': ['src/storage/', ...ofStorage()],
  'src/storage/journal/': ['src/storage/', 'src/storage/embedded/', ...ofStorage()],
  'src/runtime/': ['src/runtime/cluster/'],
  'src/runtime/cluster/': ['src/runtime/'],
}

function ofHttp(): string[] {
  return [
    ...['src/actors/protocol.ts', 'src/inbox/', 'src/settings/', 'src/runtime/'],
    ...['src/runtime/cluster/directory.ts', 'src/runtime/cluster/actor-context.ts', ...STORAGE_WORDS],
  ]
}

function ofActors(): string[] {
  const context = ['src/runtime/cluster/directory.ts', 'src/runtime/cluster/actor-context.ts']
  return ['src/actors/', 'src/runtime/', ...context, ...STORAGE_WORDS]
}

function ofStorage(): string[] {
  return ['clock', 'errors', 'logger', 'losses', 'node-time', 'timings'].map(
    (name) => `src/runtime/${name}.ts`,
  )
}

/** Dependency -> the only files (prefixes) that may import it. */
const DOORS: Record<string, string[]> = {
  'p-queue': ['src/runtime/mailbox.ts'],
  '@prometheus-io/client': ['src/runtime/metrics-library.ts'],
  'async-mutex': ['src/actors/'],
  koa: ['src/http/'],
  '@koa/router': ['src/http/'],
  undici: ['src/actors/messages/forward.ts', 'src/http/', 'src/nodes/'],
  zod: ['src/http/', 'src/inbox/', 'src/nodes/', 'src/settings/'],
  leven: ['src/settings/'],
  // The dashboard's charts: a script that the browser loads.
  uplot: [],
  yargs: ['src/cli.ts'],
  pino: ['src/runtime/logger.ts'],
  'pino-pretty': ['src/runtime/logger.ts'],
  'hazelcast-client': ['src/storage/hazelcast/'],
  'node:sqlite': ['src/storage/embedded/'],
  'node:cluster': ['src/runtime/cluster/'],
  'node:child_process': ['src/actors/messages/', 'src/storage/embedded/data-directory.ts'],
  'node:http': ['src/http/', 'src/nodes/', 'src/runtime/node-http.ts'],
}

/** Words that may stand in these files (prefixes) only. */
const WORDS: Record<string, string[]> = {
  'Date.now(': ['src/runtime/clock.ts'],
  'setTimeout(': ['src/runtime/clock.ts'],
  'setInterval(': ['src/runtime/clock.ts'],
  'process.exit(': ['src/runtime/lifecycle.ts'],
  'process.env': ['src/settings/settings-reader.ts'],
  'Math.random': ['src/runtime/clock.ts'],
}

interface Source {
  path: string
  code: string
  imports: string[]
}

const sources: Source[] = globSync('src/**/*.ts').map((path) => {
  const text = readFileSync(path, 'utf8')
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '')
  const imports = [...code.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name]) => name!)
  return { path, code, imports }
})

function roomOf(path: string): string {
  const rooms = Object.keys(MAY_IMPORT).filter((room) => path.startsWith(room))
  return rooms.sort((a, b) => b.length - a.length)[0] ?? assert.fail(`${path} is in no room`)
}

function mayImport(room: string, target: string): boolean {
  const roomOfTarget = roomOf(target)
  return room === roomOfTarget || MAY_IMPORT[room]!.some((to) => to === target || to === roomOfTarget)
}

function targetsOf({ path, imports }: Source): string[] {
  return imports.filter((name) => name.startsWith('.')).map((name) => normalize(join(dirname(path), name)))
}

test('the sources are found', () => {
  assert.ok(sources.length > 20)
})

test('each room imports only the rooms it may', () => {
  const wrong = sources.flatMap((source) =>
    targetsOf(source)
      .filter((target) => !mayImport(roomOf(source.path), target))
      .map((target) => `${source.path} -> ${target}`),
  )
  assert.deepEqual(wrong, [])
})

test('each dependency is imported in one room', () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter((name) => Object.hasOwn(DOORS, name) && !DOORS[name]!.some((door) => path.startsWith(door)))
      .map((name) => `${path} imports ${name}`),
  )
  assert.deepEqual(wrong, [])
})

test('node:http is imported for its types only: its values come from src/runtime/node-http.ts', () => {
  const wrong = sources.filter(({ code }) => /import (?!type)[^\n]*from 'node:http'/.test(code))
  assert.deepEqual(
    wrong.map(({ path }) => path),
    [],
  )
})

test('every production dependency has its room in the table', () => {
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  const imported = Object.keys(dependencies).filter((name) => name !== 'node') // The runtime itself.
  const doorless = imported.filter((name) => !Object.hasOwn(DOORS, name))
  assert.deepEqual(doorless, [])
})

test('clock, random numbers, environment and exit are used in one file each', () => {
  const wrong = sources.flatMap(({ path, code }) =>
    Object.entries(WORDS)
      .filter(([word, doors]) => code.includes(word) && !doors.some((door) => path.startsWith(door)))
      .map(([word]) => `${path}: ${word}`),
  )
  assert.deepEqual(wrong, [])
})

test('there are no import cycles', () => {
  const graph = new Map(sources.map((source) => [source.path, targetsOf(source)]))
  const done = new Set<string>()
  const visit = (path: string, trail: string[]): void => {
    assert.ok(!trail.includes(path), `cycle: ${[...trail, path].join(' -> ')}`)
    if (done.has(path)) return
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
})
