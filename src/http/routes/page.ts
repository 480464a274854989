/** `/`: the dashboard, one page for people (`src/http/page/`), and what its charts begin with. */
import { Assets, replyPage } from '../assets.ts'
import { type ApiContext, type Endpoint, pathParameter, replyJson } from '../context.ts'
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

const FOLDER = new URL('../page/', import.meta.url)
/** Each after those it imports. */
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

/** The routes of the page. */
export function pageRoutes({
  facade,
  config,
}: ApiContext): Record<'getPage' | 'getAsset' | 'getHistory', Endpoint> {
  let loaded: ReturnType<typeof load> | undefined
  const files = () => {
    loaded ??= load()
    return loaded
  }
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
      return replyPage(context, files().page)
    },
    getAsset(context) {
      return files().assets.reply(context, pathParameter(context, 'file'))
    },
    async getHistory(context) {
      replyJson(context, 200, JSON.stringify({ points: await facade.history() }))
    },
  }
}

function load() {
  const own = ['icon.svg', 'style.css', ...MODULES.map((name) => `${name}.js`)]
  const charts = import.meta.resolve('uplot/dist/uPlot.iife.min.js')
  const assets = new Assets([
    ...[new URL(charts), new URL('uPlot.min.css', charts)],
    ...own.map((name) => new URL(name, FOLDER)),
  ])
  return { assets, page: assets.page(new URL('index.html', FOLDER)) }
}
