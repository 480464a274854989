/** The secret of the system, and the comparison of secrets. */
import { hash, timingSafeEqual } from 'node:crypto'
import { MailroomError } from '../../runtime/errors.ts'

/** The header that carries the secret of the system in calls between actors and between nodes. */
export const SECRET_HEADER = 'x-mailroom-secret'

/**
 * Makes the comparison of given values with secrets, each under a key.
 *
 * @returns The key of the secret that is given; null for any other value. Compares digests, which all have one length,
 * with every secret: the time it takes shows neither which one it is, nor the length or the beginning of one.
 */
export function createSecretFinder<K>(
  secrets: Iterable<readonly [key: K, secret: string]>,
): (given: string) => K | null {
  const digests = [...secrets].map(([key, secret]) => ({ key, digest: digestOf(secret) }))
  return (given) => {
    const digest = digestOf(given)
    let found: K | null = null
    for (const own of digests) if (timingSafeEqual(digest, own.digest)) found = own.key
    return found
  }
}

/** Makes the check of a call's secret. @returns A function that throws `MR_FORBIDDEN` for another one. */
export function createSystemCheck(secret: string): (given: string) => void {
  const find = createSecretFinder([[true, secret]])
  return (given) => {
    if (find(given) !== null) return
    throw new MailroomError('MR_FORBIDDEN', {
      reason: 'The secret (--secret) of the caller is not the one of this system',
    })
  }
}

function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}
