/**
 * The files that pages load: each has a name that changes with its content, so browsers keep it for ever. They are read
 * when a page is first asked for, and each is compressed once: most facades are never asked.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, gzip } from 'node:zlib'
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

/** The dashboard's, each after those it imports. */
const MODULES = [
  'dom',
  'api',
  'text',
  'live',
  'actions',
  'health',
  'charts',
  'flow',
  'message',
  'log',
  'dead',
  'main',
]

/** A value that is made when it is first asked for: few facades are ever asked. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** The files of all pages. @throws When one cannot be read: the package lacks it. */
export const files = once(() => {
  const own = ['icon.svg', 'style.css', ...MODULES.map((name) => `${name}.js`)]
  return new Assets([
    ...[
      new URL(import.meta.resolve('uplot/dist/uPlot.iife.min.js')),
      new URL('./assets/docs.css', import.meta.url),
    ],
    ...own.map((name) => new URL(`./page/${name}`, import.meta.url)),
  ])
})

/** A file as it is sent. */
export interface Asset {
  /** With the hash of its content. */
  name: string
  type: string
  etag: string
  body: Buffer
  compressed: Map<Encoding, Promise<Buffer>>
}

type Encoding = 'br' | 'gzip'

const COMPRESS = { br: promisify<Buffer, Buffer>(brotliCompress), gzip: promisify<Buffer, Buffer>(gzip) }

/** Files of pages. */
class Assets {
  readonly #names = new Map<string, string>()
  readonly #assets = new Map<string, Asset>()

  /**
   * @param files In an order in which a file comes after those it names.
   * @throws When one cannot be read: the package lacks it.
   */
  constructor(files: readonly URL[]) {
    for (const file of files) {
      const name = file.pathname.slice(file.pathname.lastIndexOf('/') + 1)
      const asset = assetOf(name, this.#linked(withoutComments(readFileSync(file, 'utf8'), name), './'))
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
  async reply(context: Context, name: string): Promise<void> {
    const asset = this.#assets.get(name)
    if (asset === undefined) throw new MailroomError('MR_NOT_FOUND', { what: 'such file' })
    await replyAsset(context, asset, FOR_EVER)
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
export function replyPage(context: Context, page: Asset): Promise<void> {
  return replyAsset(context, page, REVALIDATED)
}

async function replyAsset(context: Context, asset: Asset, caching: string): Promise<void> {
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
  if (encoding !== 'br' && encoding !== 'gzip') {
    context.body = asset.body
    return
  }
  response.setHeader('Content-Encoding', encoding)
  const compressed = asset.compressed.get(encoding) ?? COMPRESS[encoding](asset.body)
  asset.compressed.set(encoding, compressed)
  context.body = await compressed
}

function assetOf(name: string, text: string): Asset {
  const body = Buffer.from(text)
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 8)
  const ending = extname(name)
  return {
    name: `${name.slice(0, -ending.length)}.${hash}${ending}`,
    ...{ type: TYPES[ending]!, etag: `"${hash}"`, body, compressed: new Map() },
  }
}

/** A file of ours as a browser needs it: without comments and indents. Licences of others stay. */
function withoutComments(text: string, name: string): string {
  if (!/\.(?:css|js)$/.test(name) || name.includes('.min.')) return text
  const bare = text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '')
    .replaceAll(/^\s+/gm, '')
  return name.endsWith('.css') ? bare.replaceAll(/\s*([{}:;,])\s*/g, '$1') : bare
}
