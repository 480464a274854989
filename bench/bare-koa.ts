/** What Mailroom is measured against: Koa, its router and a body parser that answer 201 and store nothing. */
import { bodyParser } from '@koa/bodyparser'
import { Router } from '@koa/router'
import Koa from 'koa'

const router = new Router()
let count = 0
router.post('/messages', (context) => {
  if (typeof (context.request.body as { text?: unknown }).text !== 'string') context.throw(400)
  context.status = 201
  context.body = { id: String(++count), at: new Date().toISOString() }
})
const app = new Koa().use(bodyParser()).use(router.routes())
app.listen(Number(process.argv[2]), '127.0.0.1')
