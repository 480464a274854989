/** The tokens of a node: each gives a role, and a role says what its caller may do. */
import type { Config } from '../settings/config.ts'
import { createSecretFinder } from './internal/secret.ts'

/** What a caller may do: read, post messages, or everything. */
export type CallerRole = 'read' | 'post' | 'all'

/** The settings that are tokens. */
export type TokenSettings = Pick<Config, 'token' | 'readToken' | 'postToken'>

/** The tokens that are set, by role. None: everybody has the role `all`. */
export function tokensOf({ token, readToken, postToken }: TokenSettings): Map<CallerRole, string> {
  const all = { all: token, read: readToken, post: postToken }
  return new Map(Object.entries(all).filter(([, one]) => one !== null) as [CallerRole, string][])
}

/** Makes the look-up of a token's role: null for a wrong one. The time it takes shows nothing of any token. */
export function createRoleOf(settings: TokenSettings): (given: string) => CallerRole | null {
  return createSecretFinder(tokensOf(settings))
}
