/** The files that pages load, read once: each has a name that changes with its content, so browsers keep it. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Context } from 'koa'
import { MailroomError } from '../runtime/errors.ts'

const DIRECTORY = new URL('./assets/', import.meta.url)
const TYPES: Record<string, string> = { css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' }
const FOR_EVER = 'public, max-age=31536000, immutable'

interface Asset {
  type: string
  etag: string
  body: Buffer
}

/** Files of `src/http/assets/`. */
export class Assets {
  readonly #names = new Map<string, string>()
  readonly #assets = new Map<string, Asset>()

  /** @param names Of the files. @throws When one cannot be read: the package lacks it. */
  constructor(names: readonly string[]) {
    for (const name of names) {
      const body = readFileSync(new URL(name, DIRECTORY))
      const hash = createHash('sha256').update(body).digest('base64url').slice(0, 12)
      const [stem = '', ending = ''] = name.split('.')
      const hashed = `${stem}.${hash}.${ending}`
      this.#names.set(name, hashed)
      this.#assets.set(hashed, { type: TYPES[ending]!, etag: `"${hash}"`, body })
    }
  }

  /** The address of a file, relative to a page at the root. */
  pathOf(name: string): string {
    return `assets/${this.#names.get(name)!}`
  }

  /** Answers with the file of this name. @throws {MailroomError} `MR_NOT_FOUND` */
  reply(context: Context, hashed: string): void {
    const asset = this.#assets.get(hashed)
    if (asset === undefined) throw new MailroomError('MR_NOT_FOUND', { what: 'such file' })
    const { res: response } = context
    response.setHeader('Cache-Control', FOR_EVER)
    response.setHeader('ETag', asset.etag)
    const known = context.get('if-none-match').split(',')
    if (known.some((tag) => tag.trim().replace(/^W\//, '') === asset.etag)) {
      context.status = 304
      return
    }
    context.status = 200
    response.setHeader('Content-Type', asset.type)
    context.body = asset.body
  }
}
