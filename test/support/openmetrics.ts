/** The parser of OpenMetrics of Python's `prometheus_client`. Tests with it are left out where it is missing, and fail with CI=true. */
import { spawnSync } from 'node:child_process'

const READ = `
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(json.dumps({family.name: family.type for family in text_string_to_metric_families(sys.stdin.read())}))
`
const isThere = spawnSync('python3', ['-c', 'import prometheus_client.openmetrics.parser']).status === 0

/** Why a test is left out, or false. */
export const withoutOpenMetrics =
  !isThere &&
  process.env['CI'] !== 'true' &&
  'needs the parser of OpenMetrics (pip install prometheus_client)'

/** Reads a whole answer. @returns The type of each family, by its name. @throws {Error} What the parser refuses. */
export function readOpenMetrics(text: string): Record<string, string> {
  const { status, stdout, stderr, error } = spawnSync('python3', ['-c', READ], {
    input: text,
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`not OpenMetrics: ${stderr.trim().split('\n').at(-1)}`)
  return JSON.parse(stdout)
}
