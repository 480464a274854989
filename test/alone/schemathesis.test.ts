/** Schemathesis, all checks, against the real program started with a token. `schemathesis.toml` has the exceptions. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { System } from '../support/system.ts'

const TOKEN = 'the-right-token-of-32-characters'
const isThere = spawnSync('st', ['--version']).status === 0
const skip = !isThere && process.env['CI'] !== 'true' && 'needs Schemathesis (pip install schemathesis)'

test('schemathesis finds nothing', { skip }, async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-schemathesis-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const sources = join(directory, 'sources.json')
  writeFileSync(sources, '{"github":{"verify":"none"},"events":{"verify":"none","cloudevents":true}}')
  const system = await System.start(context, ['--token', TOKEN, '--sources', sources])
  const flags = [
    '--config-file',
    'schemathesis.toml',
    'run',
    '--no-color',
    '-H',
    `Authorization: Bearer ${TOKEN}`,
  ]
  const run = spawn('st', [...flags, `${system.url}/openapi.json`], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  run.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code] = await once(run, 'close')
  assert.equal(code, 0, output)
  const [, selected, tested] = /Selected: (\d+)\/\d+\s+Tested: (\d+)/.exec(output) ?? assert.fail(output)
  assert.equal(selected, tested, 'every operation is tested')
  await system.get('/readyz')
})
