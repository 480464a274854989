#!/usr/bin/env node
// Runs Mailroom on a Node that is new enough: this one, or the one that came with the package. Plain
// JavaScript for old versions of Node, which must be able to read it.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NEEDED = [24, 15]
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
// A checkout runs its sources, whatever was built there once; a package has none.
const source = join(root, 'src', 'cli.ts')
const cli = existsSync(source) ? source : join(root, 'dist', 'cli.js')
const isRunHere = isNewEnough(process.versions.node)
const end = isRunHere ? (signal) => process.kill(process.pid, signal) : runOn(packagedNode())

// npx hands a SIGTERM to a shell, which ends and leaves this process behind: then the signal was meant for us.
const parent = process.ppid
if (process.env.npm_command === 'exec') {
  const looking = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(looking)
    end('SIGTERM')
  }, 500).unref()
}
if (isRunHere) {
  // As src/commands/start.ts does for the workers.
  module.enableCompileCache(join(root, 'node_modules', '.cache', 'compile'))
  await import(pathToFileURL(cli).href)
}

/** Returns a function that sends a signal to the process. */
function runOn(node) {
  const child = spawn(node, [cli, ...process.argv.slice(2)], { stdio: 'inherit' })
  // A terminal's Ctrl-C reaches both; this process only waits for the other one to end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    console.error(`mailroom: cannot run ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
  return (signal) => child.kill(signal)
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
}

function packagedNode() {
  try {
    const manifest = module.createRequire(import.meta.url).resolve('node/package.json')
    const name = process.platform === 'win32' ? 'node.exe' : 'node'
    const path = join(dirname(manifest), 'bin', name)
    if (existsSync(path)) return path
  } catch {
    // Said below.
  }
  console.error(
    `mailroom: needs Node ${NEEDED.join('.')} or newer, this is ${process.versions.node}, and the package "node", which brings one, is not installed. Run npm install again, with install scripts allowed.`,
  )
  process.exit(1)
}
