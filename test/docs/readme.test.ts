import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ROUTES } from '../../src/http/routes/table.ts'
import { SETTINGS } from '../../src/settings/config.ts'
import { DEFAULT_LANES } from '../../src/storage/limits.ts'
import { Likeness, run, type Step, stepsOf } from '../support/console.ts'
import { codesIn, fencesOf, pageOf, rowsOf } from '../support/markdown.ts'
import { System } from '../support/system.ts'

const page = pageOf('README.md')
const SHOWN_URL = 'http://127.0.0.1:8080'
/** Settings that have no value, or are settled elsewhere. */
const DEFAULTS: Record<string, string> = { lanes: String(DEFAULT_LANES), open: 'none' }

/** A command that starts a node: its variables and its flags; undefined for any other. */
function startOf(command: string): { env: Record<string, string>; flags: string[] } | undefined {
  const match = /^(?<env>(?:[A-Z_]+=\S+ )*)(?:npm ci && npm start|npx mailroom start)(?<flags>.*)$/.exec(
    command,
  )
  if (match === null) return undefined
  const { env = '', flags = '' } = match.groups!
  const words = (text: string) => text.split(' ').filter((word) => word !== '')
  return { env: Object.fromEntries(words(env).map((word) => word.split('='))), flags: words(flags) }
}

/** A command that changes nothing: which actor answers is chance, and what it shows may take a moment. */
function isRead(command: string): boolean {
  return command.startsWith('curl ') && !/ (-d|-X|--data-binary) /.test(command)
}

test('every example of the README, run in order on the real program, prints what is shown', async (context) => {
  const steps = fencesOf(page)
    .filter(({ language }) => language === 'console')
    .flatMap(({ text }) => stepsOf(text))
  const starts = steps.flatMap(({ command }) => startOf(command) ?? [])
  assert.ok(starts.length >= 2 && steps.length >= 15, 'there are examples')
  assert.deepEqual(startOf(steps[0]!.command), { env: {}, flags: [] }, 'the first one starts a node')
  const env = Object.assign({}, ...starts.map((start) => start.env)) as Record<string, string>
  let system: System | undefined
  const likeness = new Likeness()

  const repeat = async ({ command, shown }: Step, url: string): Promise<string> => {
    const output = await run(likeness.real(command).replaceAll(SHOWN_URL, url), { MAILROOM_URL: url })
    return likeness.matches(shown, output.replaceAll(url, SHOWN_URL)) ? shown : output
  }
  for (const step of steps) {
    const { command, shown } = step
    const start = startOf(command)
    if (start !== undefined) {
      if (system === undefined) system = await System.start(context, start.flags, { env })
      else {
        system.kill('SIGTERM')
        assert.deepEqual(await system.exited, [0, null])
        await system.begin(start.flags)
      }
      continue
    }
    const { url } = system!
    let output = await repeat(step, url)
    const endAt = Date.now() + 15_000
    while (output !== shown && isRead(command) && Date.now() < endAt) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      output = await repeat(step, url)
    }
    assert.equal(output, shown, `$ ${command}`)
  }
})

test('the README lists every call of the API with its query parameters, and no other', () => {
  // The section has a table of events, too.
  const rows = rowsOf(page, 'The API').filter(([call]) => /^`[A-Z]+ \//.test(call!))
  const listed = rows.map(([call, does]) => {
    const parameters = codesIn(does!).flatMap((code) => /^\??(\w+)=/.exec(code)?.[1] ?? [])
    return [codesIn(call!)[0], ...parameters].join(' ')
  })
  const expected = Object.values(ROUTES).map(({ method, path, query }) =>
    `${method} ${path} ${query === 'any' ? '' : query.join(' ')}`.trim(),
  )
  assert.deepEqual(listed.toSorted(), expected.toSorted())
})

test('the README lists every command, and no other', async () => {
  const listed = rowsOf(page, 'The command line').map(([call]) => codesIn(call!)[0]!.split(' ')[1]!)
  const help = await run('node bin/mailroom.js --help', {})
  const commands = help.split('Commands:\n')[1]!.split('\n\n')[0]!
  const expected = [...commands.matchAll(/^ +mailroom (\w+)/gm)].map(([, command]) => command!)
  assert.ok(expected.length > 3)
  assert.deepEqual(listed.toSorted(), expected.toSorted())
})

test('the README names settings that exist, with their defaults', () => {
  const rows = rowsOf(page, 'Settings')
  assert.ok(rows.length > 3)
  for (const [flags, initial] of rows) {
    const names = codesIn(flags!).map((flag) => flag.slice(2))
    const defaults = names.map((name) => {
      assert.ok(Object.hasOwn(SETTINGS, name), `--${name} is a setting`)
      return DEFAULTS[name] ?? SETTINGS[name]?.fallback ?? 'none'
    })
    const expected = new Set(defaults).size === 1 ? defaults.slice(0, 1) : defaults
    assert.equal(initial!.replaceAll('`', ''), expected.join(', '), `the default of ${names}`)
  }
})

test('the handler in the README is the file it names', () => {
  const blocks = fencesOf(page).filter(({ language }) => language === 'js')
  assert.deepEqual(
    blocks.map(({ text }) => text),
    [readFileSync('examples/handler.js', 'utf8')],
  )
})

test('the README’s way to test is what .ci/run does', () => {
  const development = fencesOf(page.split('\n## Development\n')[1]!)[0]!.text
  const readme = development.split('\n').map((line) => line.replace(/ +#.*/, ''))
  assert.deepEqual(readme.slice(0, 2), ['npm ci', 'npm test'])
  const ci = readFileSync('.ci/run', 'utf8').split('\n')
  assert.deepEqual(
    ci.filter((line) => readme.includes(line) && line !== ''),
    ['npm ci', 'npm test'],
  )
})

test('every npm script that a page names exists', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'docs/architecture.md',
    'docs/operations.md',
    'docs/performance.md',
    'docs/reliability.md',
    'docs/config.md',
  ]
  const named = pages.flatMap((path) =>
    [...pageOf(path).matchAll(/\bnpm (?:run |(?=test\b|start\b))([\w:-]+)/g)].map(([, script]) => script!),
  )
  assert.ok(named.includes('start') && named.includes('test') && named.includes('bench'))
  assert.deepEqual(
    named.filter((script) => !Object.hasOwn(scripts, script)),
    [],
  )
})
