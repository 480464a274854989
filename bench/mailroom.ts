/** Servers under measurement: started on a free port, waited for, ended. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { cpus, totalmem } from 'node:os'

/** A server that answers. */
export interface Running {
  url: string
  process: ChildProcess
}

/** The command line of Mailroom on `data`, for `begin`. */
export function mailroom(data: string, ...flags: string[]): (port: string) => string[] {
  const cli = new URL('../src/cli.ts', import.meta.url).pathname
  return (port) => [cli, 'start', '--port', port, '--data', data, '--log-level', 'warn', ...flags]
}

/** Runs `node` with these arguments and waits until it answers. */
export async function begin(args: (port: string) => string[]): Promise<Running> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  const child = spawn(process.execPath, args(String(port)), { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://127.0.0.1:${port}`
  const answers = async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status
  while (![200, 404].includes((await answers()) ?? 0)) {
    if (child.exitCode !== null) throw new Error(`${args('').join(' ')} ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { url, process: child }
}

/** Ends a server, and waits until it is gone. */
export async function end({ process: child }: Running): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

/** The machine, in one line. */
export function machine(): string {
  return `${cpus()[0]?.model} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
