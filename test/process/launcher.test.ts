/** `bin/mailroom.js`: what `npx mailroom` runs, on whatever Node the machine has. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, globSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { begin, run } from '../support/command.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const BIN = join(ROOT, 'bin', 'mailroom.js')

/** The machine's own Node, perhaps too old for Mailroom; else the one of the tests. */
function machineNode(): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node')
    if (folder.includes('node_modules')) continue
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  return process.execPath
}

/** The package as it is published, unpacked, beside the dependencies of this checkout. */
function unpacked(context: TestContext): string {
  const at = mkdtempSync(join(tmpdir(), 'mailroom-package-'))
  context.after(() => rmSync(at, { recursive: true, force: true }))
  execFileSync('npm', ['pack', '--pack-destination', at], { cwd: ROOT, stdio: 'ignore' })
  const [tarball] = globSync('mailroom-*.tgz', { cwd: at })
  execFileSync('tar', ['-xzf', tarball!, '--strip-components', '1'], { cwd: at })
  symlinkSync(join(ROOT, 'node_modules'), join(at, 'node_modules'))
  return at
}

test('the launcher runs on an old Node and passes on arguments, exit codes and standard input', async () => {
  const program: [string, string] = [machineNode(), BIN]
  const version = await run(['--version'], { program })
  assert.deepEqual([version.code, version.stderr], [0, ''])
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  assert.equal((await run(['status', '--bogus'], { program })).code, 78)
  const env = { MAILROOM_URL: `http://127.0.0.1:${await freePort()}`, MAILROOM_TIMEOUT: '0s' }
  const sent = await run(['send', '-'], { program, input: 'hello\n', env })
  assert.deepEqual([sent.code, sent.signal], [1, null])
  assert.match(sent.stderr, /Nothing answers/)
})

for (const [how, node] of [
  ['on a Node that is new enough', process.execPath],
  ['on the machine’s Node', machineNode()],
] as const) {
  test(`a package is started from dist by its launcher, ${how}, and drained by a signal to the launcher`, async (context) => {
    const at = unpacked(context)
    const program: [string, string] = [node, join(at, 'bin', 'mailroom.js')]
    const url = `http://127.0.0.1:${await freePort()}`
    const { child, ended } = begin(['start', '--port', new URL(url).port], { program, cwd: at })
    child.stdout!.setEncoding('utf8')
    let output = ''
    while (!output.includes('Mailroom is ready')) {
      const [text] = await once(child.stdout!, 'data', { signal: AbortSignal.timeout(30_000) })
      output += text
    }
    const sent = await run(['send', 'hello', '--url', url], { program })
    assert.equal(sent.code, 0, sent.stderr)
    for (const [page, named] of [
      ['docs', /<link rel="stylesheet" href="([^"]*)">/],
      ['', /<script src="([^"]*main[^"]*)" type="module">/],
    ] as const) {
      const file = named.exec(await (await fetch(`${url}/${page}`)).text())![1]!
      assert.equal((await fetch(`${url}/${file}`)).status, 200, 'the package has the files of its pages')
    }
    child.kill('SIGTERM')
    const { code, signal, stdout } = await ended
    assert.deepEqual([code, signal], [0, null])
    assert.match(stdout, /"msg":"drained"/)
  })
}

test('the published package has all that the launcher needs, and no sources', () => {
  const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }]
  const paths = files.map(({ path }) => path)
  assert.ok(paths.includes('bin/mailroom.js'))
  assert.deepEqual(
    paths.filter((path) => /^(src|test|data|\.)/.test(path)),
    [],
  )
})
