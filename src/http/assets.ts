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

/** The dashboard's modules, each after those it imports. */
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
  const read = (file: URL) => readFileSync(file, 'utf8')
  const ofPage = (name: string) => read(new URL(`./page/${name}`, import.meta.url))
  return new Assets([
    ['uPlot.iife.min.js', read(new URL(import.meta.resolve('uplot/dist/uPlot.iife.min.js')))],
    ['docs.css', withoutComments(read(new URL('./assets/docs.css', import.meta.url)), 'docs.css')],
    ['icon.svg', ofPage('icon.svg')],
    ['style.css', withoutComments(ofPage('style.css'), 'style.css')],
    ['main.js', MODULES.map((name) => joinable(name, ofPage(`${name}.js`))).join('')],
  ])
})

/**
 * A module as a part of one file: it compresses better together with the others, and a browser asks once. Its names stay
 * its own; what it exports is in a constant of its name, from which the others take it.
 */
function joinable(module: string, text: string): string {
  const exported: string[] = []
  const plain = withoutComments(text, `${module}.js`)
    .replaceAll(
      /^import (\{[^}]*\}) from '\.\/(\w+)\.js'$/gm,
      (_, names: string, from) => `const ${names.replaceAll(' as ', ': ')} = ${from}_`,
    )
    .replaceAll(/^export (?=(?:async )?(?:function|const|class) (\w+))/gm, (_, name) => {
      exported.push(name)
      return ''
    })
  return `const ${module}_ = (() => {\n${plain}\nreturn { ${exported.join(', ')} }\n})()\n`
}

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

  constructor(files: readonly (readonly [name: string, text: string])[]) {
    for (const [name, text] of files) {
      const asset = assetOf(name, text)
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
    return assetOf('index.html', this.#linked(readFileSync(file, 'utf8')))
  }

  /** Answers with the file of this name. @throws {MailroomError} `MR_NOT_FOUND` */
  async reply(context: Context, name: string): Promise<void> {
    const asset = this.#assets.get(name)
    if (asset === undefined) throw new MailroomError('MR_NOT_FOUND', { what: 'such file' })
    await replyAsset(context, asset, FOR_EVER)
  }

  /** A page with the names of files in quotes, `"main.js"`, as they are here. */
  #linked(text: string): string {
    return text.replaceAll(/(?<=")[\w.-]+(?=")/g, (name) =>
      this.#names.has(name) ? this.pathOf(name) : name,
    )
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

/** A script or a style of ours as a browser needs it: without comments and indents. */
function withoutComments(text: string, name: string): string {
  const bare = text
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '')
    .replaceAll(/^\s+/gm, '')
  return name.endsWith('.css') ? bare.replaceAll(/\s*([{}:;,])\s*/g, '$1') : bare
}
