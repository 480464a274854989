/** `/openapi.json`, `/docs` and the files of pages: open to everyone, as they say nothing of this node but its sizes. */
import type { Context } from 'koa'
import { files, once } from '../assets.ts'
import { type ApiContext, type Endpoint, pathParameter, replyJson } from '../context.ts'
import { DEFAULT_URL } from '../openapi/curl.ts'
import { openapiOf } from '../openapi/document.ts'
import { pageOf } from '../openapi/page.ts'

/** The page loads its own style, and nothing else. */
const POLICY =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** The routes of documents. */
export function docsRoutes({
  config,
}: Pick<ApiContext, 'config'>): Record<'getOpenapi' | 'getDocs' | 'getAsset', Endpoint> {
  const document = once(() => openapiOf(config))
  const documentJson = once(() => JSON.stringify(document()))
  return {
    getOpenapi(context) {
      replyJson(context, 200, documentJson())
    },
    getDocs(context) {
      context.status = 200
      context.res.setHeader('Content-Type', 'text/html; charset=utf-8')
      context.res.setHeader('Content-Security-Policy', POLICY)
      context.res.setHeader('Referrer-Policy', 'no-referrer')
      context.body = pageOf(document(), { url: urlOf(context), stylesheet: files().pathOf('docs.css') })
    },
    getAsset(context) {
      return files().reply(context, pathParameter(context, 'file'))
    },
  }
}

/** Where the caller found this node. A proxy that ends TLS says so. `head.ts` has checked the host. */
function urlOf({ headers }: Context): string {
  if (headers.host === undefined || headers.host === '') return DEFAULT_URL
  return `${headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'}://${headers.host}`
}
