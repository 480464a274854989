/** What the internal servers ask of their callers: the secret of the system. */
import { timingSafeEqual } from 'node:crypto'
import { MailroomError } from '../../runtime/errors.ts'

/** Name of the header that proves a caller is of this system. */
export const SECRET_HEADER = 'x-mailroom-secret'

/** Makes the check of a header's value. @returns A function that throws `MR_FORBIDDEN` for any other. */
export function secretCheck(secret: string): (given: string) => void {
  const wanted = Buffer.from(secret)
  return (given) => {
    const bytes = Buffer.from(given)
    if (bytes.length !== wanted.length || !timingSafeEqual(bytes, wanted)) {
      throw new MailroomError('MR_FORBIDDEN', { reason: 'This server is for actors of the same system' })
    }
  }
}
