/** Whether an operator has paused delivery: a file in the data directory, there while it is paused. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MailroomError } from '../../runtime/errors.ts'
import { Guard, PRIVATE } from './guard.ts'
import { syncDirectory } from './sqlite.ts'

const NAME = 'paused'

/** The file of one data directory. */
export class PauseFile {
  readonly #data: string
  readonly #directory: Guard

  /** @param identity As `EmbeddedOptions.dataIdentity`. */
  constructor(data: string, identity: string | undefined) {
    this.#data = data
    this.#directory = new Guard([identity === undefined ? data : [data, identity]])
  }

  exists(): boolean {
    return existsSync(join(this.#data, NAME))
  }

  /** Makes or removes it, durably. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  set(paused: boolean): void {
    const path = join(this.#data, NAME)
    try {
      this.#directory.check()
      if (paused) writeFileSync(path, '', { flush: true, mode: PRIVATE.file })
      else rmSync(path, { force: true })
      syncDirectory(this.#data)
    } catch (cause) {
      const reason = `${path} cannot be written: ${(cause as Error).message}`
      throw new MailroomError(
        'MR_STORE_UNAVAILABLE',
        { store: 'queue', reason },
        { outcome: 'unknown', cause },
      )
    }
  }
}
