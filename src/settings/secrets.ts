/** Secrets that a setting names and does not give: command lines show in `ps`, and files are committed. */
import { readFileSync } from 'node:fs'

const NAME = /^(?:env:(?<variable>[A-Za-z_]\w*)|file:(?<path>.+))$/s

/**
 * Reads the secret that `env:NAME` or `file:PATH` names. One line end at the end of a file is cut off.
 *
 * @returns `wrong`: why there is none, as words that follow "Expected `--forward-secret`". They show no secret.
 */
export function readSecret(
  name: string,
  env: Record<string, string | undefined>,
): { secret: string; wrong?: never } | { wrong: string; secret?: never } {
  const { variable, path = '' } = NAME.exec(name)?.groups ?? {}
  if (variable === undefined && path === '')
    return { wrong: 'to be env:NAME or file:PATH, got something else' }
  let secret: string | undefined
  try {
    secret = variable === undefined ? readFileSync(path, 'utf8').replace(/\r?\n$/, '') : env[variable]
  } catch (error) {
    return {
      wrong: `to name a file that can be read, got ${name} (${(error as NodeJS.ErrnoException).code})`,
    }
  }
  if (secret === undefined) return { wrong: `to name a variable that is set, got ${name}` }
  return secret === '' ? { wrong: `to name a secret that is not empty, got ${name}` } : { secret }
}
