/** The secret of the system, and the comparison of secrets. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { MailroomError } from '../../runtime/errors.ts'

/** The header that carries the secret of the system in calls between actors and between nodes. */
export const SECRET_HEADER = 'x-mailroom-secret'

/**
 * Makes the comparison of given values with a secret.
 *
 * @returns True for the secret only. Compares digests, which all have one length, so the time it takes shows neither
 * the length nor the beginning of the secret.
 */
export function createSecretCheck(secret: string): (given: string) => boolean {
  const digest = digestOf(secret)
  return (given) => timingSafeEqual(digestOf(given), digest)
}

/** Makes the check of a call's secret. @returns A function that throws `MR_FORBIDDEN` for another one. */
export function createSystemCheck(secret: string): (given: string) => void {
  const isSecret = createSecretCheck(secret)
  return (given) => {
    if (isSecret(given)) return
    throw new MailroomError('MR_FORBIDDEN', {
      reason: 'The secret (--secret) of the caller is not the one of this system',
    })
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
