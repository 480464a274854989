/** `/`: the dashboard, one page for people (`src/http/page/`), and what its charts begin with. */
import { files, once, replyPage } from '../assets.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'
import { headOf } from '../head.ts'

/** Its own files, and nothing else; no markup or script comes from a text. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const PAGE = new URL('../page/index.html', import.meta.url)

/** The routes of the page. */
export function pageRoutes({ facade, config }: ApiContext): Record<'getPage' | 'getHistory', Endpoint> {
  const page = once(() => files().page(PAGE))
  return {
    getPage(context) {
      if (headOf(context.req).isBare) {
        context.status = 308
        // Relative: only the proxy knows what stands before it.
        context.res.setHeader('Location', `${config.basePath!.slice(config.basePath!.lastIndexOf('/') + 1)}/`)
        return
      }
      context.res.setHeader('Content-Security-Policy', POLICY)
      context.res.setHeader('Referrer-Policy', 'no-referrer')
      context.res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      return replyPage(context, page())
    },
    async getHistory(context) {
      replyJson(context, 200, JSON.stringify({ points: await facade.history() }))
    },
  }
}
