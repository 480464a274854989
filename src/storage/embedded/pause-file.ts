/** Whether an operator has paused delivery: a file in the data directory, there while it is paused. */
import { rmSync, statSync, writeFileSync } from 'node:fs'
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

  /** @throws {MailroomError} `MR_STORE_UNAVAILABLE`: one that cannot be seen is not gone. */
  exists(): boolean {
    return this.#try('read', 'none', (path) => statSync(path, { throwIfNoEntry: false }) !== undefined)
  }

  /** Makes or removes it, durably. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  set(paused: boolean): void {
    this.#try('written', 'unknown', (path) => {
      if (paused) writeFileSync(path, '', { flush: true, mode: PRIVATE.file })
      else rmSync(path, { force: true })
      syncDirectory(this.#data)
    })
  }

  #try<T>(what: string, outcome: 'none' | 'unknown', work: (path: string) => T): T {
    const path = join(this.#data, NAME)
    try {
      this.#directory.check()
      return work(path)
    } catch (cause) {
      const reason = `${path} cannot be ${what}: ${(cause as Error).message}`
      throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason }, { outcome, cause })
    }
  }
}
