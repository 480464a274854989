/** Prometheus' own checker, `promtool`. Tests with it are left out where it is missing, and fail with CI=true. */
import { spawnSync } from 'node:child_process'

const isThere = spawnSync('promtool', ['--version']).status === 0

/** Why a test is left out, or false. */
export const withoutPromtool = !isThere && process.env['CI'] !== 'true' && 'needs promtool (Prometheus)'

/** Runs it. @returns What it wrote when it found something wrong; empty when all is well. */
export function promtool(args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { input, encoding: 'utf8' })
  if (error !== undefined) throw error
  return status === 0 ? '' : `promtool ${args.join(' ')}: ${status}\n${stdout}${stderr}`
}
