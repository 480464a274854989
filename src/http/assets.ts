/**
 * The files that pages load, read and compressed once: each has a name that changes with its content, so browsers keep
 * it for ever.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Context } from 'koa'
import { MailroomError } from '../runtime/errors.ts'

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
const FOR_EVER = 'public, max-age=31536000, immutable'
const REVALIDATED = 'no-cache'

/** A file as it is sent. */
export interface Asset {
  /** With the hash of its content. */
  name: string
  type: string
  etag: string
  body: Buffer
  gzip: Buffer
  brotli: Buffer
}

/** Files of pages. */
export class Assets {
  readonly #names = new Map<string, string>()
  readonly #assets = new Map<string, Asset>()

  /**
   * @param files In an order in which a file comes after those it names.
   * @throws When one cannot be read: the package lacks it.
   */
  constructor(files: readonly URL[]) {
    for (const file of files) {
      const name = file.pathname.slice(file.pathname.lastIndexOf('/') + 1)
      const asset = assetOf(name, this.#linked(readFileSync(file, 'utf8'), './'))
      this.#names.set(name, asset.name)
      this.#assets.set(asset.name, asset)
    }
  }

  /** The address of a file, relative to a page at the root. */
  pathOf(name: string): string {
    return `assets/${this.#names.get(name)!}`
  }

  /** A page at the root, which names files of these. */
  page(file: URL): Asset {
    return assetOf('index.html', this.#linked(readFileSync(file, 'utf8'), 'assets/'))
  }

  /** Answers with the file of this name. @throws {MailroomError} `MR_NOT_FOUND` */
  reply(context: Context, name: string): void {
    const asset = this.#assets.get(name)
    if (asset === undefined) throw new MailroomError('MR_NOT_FOUND', { what: 'such file' })
    replyAsset(context, asset, FOR_EVER)
  }

  /** A text with the names of files in quotes, `'dom.js'` or `'./dom.js'`, as they are here, in a folder. */
  #linked(text: string, folder: string): string {
    return text.replaceAll(/(?<=["'])(?:\.\/)?([\w-]+(?:\.[\w-]+)+)(?=["'])/g, (whole, name) => {
      const hashed = this.#names.get(name)
      return hashed === undefined ? whole : folder + hashed
    })
  }
}

/** Answers with a page, which a browser asks for anew each time: it names the files. */
export function replyPage(context: Context, page: Asset): void {
  replyAsset(context, page, REVALIDATED)
}

function replyAsset(context: Context, asset: Asset, caching: string): void {
  const { res: response } = context
  response.setHeader('Cache-Control', caching)
  response.setHeader('ETag', asset.etag)
  response.setHeader('Vary', 'Accept-Encoding')
  const known = context.get('if-none-match').split(',')
  // A proxy that compresses makes the tag a weak one.
  if (known.some((tag) => tag.trim().replace(/^W\//, '') === asset.etag)) {
    context.status = 304
    return
  }
  context.status = 200
  response.setHeader('Content-Type', asset.type)
  const encoding = context.acceptsEncodings('br', 'gzip', 'identity')
  if (encoding === 'br' || encoding === 'gzip') response.setHeader('Content-Encoding', encoding)
  context.body = encoding === 'br' ? asset.brotli : encoding === 'gzip' ? asset.gzip : asset.body
}

function assetOf(name: string, text: string): Asset {
  const body = Buffer.from(text)
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 12)
  const ending = extname(name)
  return {
    name: `${name.slice(0, -ending.length)}.${hash}${ending}`,
    type: TYPES[ending]!,
    etag: `"${hash}"`,
    body,
    gzip: gzipSync(body, { level: 9 }),
    brotli: brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: body.length } }),
  }
}
