/** Log lines of refusals that strangers can cause: the first ones in a second each, the others as one number. */
import { REFUSAL_LOG_MS } from '../runtime/timings.ts'
import type { ApiContext } from './context.ts'

/** Refusals that are logged one by one in `REFUSAL_LOG_MS`. */
const LINES_MAX = 10

/** Logs refusals at level warn. Those of one group, such as a source, have their own count. */
export class RefusalLog {
  readonly #api: Pick<ApiContext, 'clock' | 'logger'>
  readonly #sentences: { one: string; more: string }
  /** By group: those that were refused in the present time. */
  readonly #counts = new Map<string, number>()

  /** @param sentences Of a line of one refusal, and of the line that counts the others. */
  constructor(api: Pick<ApiContext, 'clock' | 'logger'>, sentences: { one: string; more: string }) {
    this.#api = api
    this.#sentences = sentences
  }

  /** @param group Fields of both kinds of lines. @param fields Fields of the line of this refusal. */
  note(group: Record<string, string>, fields: object): void {
    const { clock, logger } = this.#api
    const key = JSON.stringify(group)
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    if (count === 1) clock.after(REFUSAL_LOG_MS, () => this.#tell(key, group), { unref: true })
    if (count <= LINES_MAX) logger.warn({ ...group, ...fields }, this.#sentences.one)
  }

  #tell(key: string, group: Record<string, string>): void {
    const more = this.#counts.get(key)! - LINES_MAX
    this.#counts.delete(key)
    if (more > 0) this.#api.logger.warn({ ...group, more }, this.#sentences.more)
  }
}
