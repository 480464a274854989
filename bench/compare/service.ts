/**
 * One process of a service that Mailroom is compared with: `front` answers `POST /messages` with 201 once the message
 * is stored, `consumer` takes the stored messages, keeps their texts in memory and acknowledges them.
 *
 *   node bench/compare/service.ts rabbitmq front 5672
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { answerQuestions } from '../lib/child.ts'
import { Tally } from '../lib/texts.ts'

/** Resolves when the message is stored as durably as the system does it. */
export type Store = (text: string) => Promise<unknown>
/** Keeps a text: after this it may be acknowledged. */
export type Take = (text: string) => void

/** What the file of a system exports. `server`: its port, or its directory. */
export interface System {
  openStore(server: string): Promise<Store>
  consume(server: string, take: Take): Promise<void>
}

/** What the bench asks a service. */
export type Question = 'count' | 'tally'

const [name = '', role = '', server = ''] = process.argv.slice(2)
const isBare = name.startsWith('bare-')
const system = isBare ? undefined : ((await import(`./${name}.ts`)) as System)
if (role === 'front') await beFront(system === undefined ? async () => {} : await system.openStore(server))
else await beConsumer(system!)

async function beFront(store: Store): Promise<void> {
  let stored = 0
  const post = async (text: string) => {
    await store(text)
    return { id: `${process.pid}-${++stored}`, at: new Date().toISOString() }
  }
  const listener = (name === 'bare-http' ? bareServer(post) : koaServer(post)).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  answerQuestions<Question>((listener.address() as AddressInfo).port, () => stored)
}

async function beConsumer({ consume }: System): Promise<void> {
  const texts: string[] = []
  const tally = new Tally()
  await consume(server, (text) => texts.push(text))
  answerQuestions<Question>(0, (question) => {
    if (question === 'count') return texts.length
    while (tally.count < texts.length) tally.add(texts[tally.count]!)
    return tally
  })
}

type Post = (text: string) => Promise<object>

function koaServer(post: Post): Koa {
  const app = new Koa()
  app.use(async (context) => {
    if (context.method !== 'POST' || context.path !== '/messages') return
    const text = textOf(await bodyOf(context.req))
    if (text === undefined) return context.throw(400)
    context.body = await post(text)
    context.status = 201
  })
  return app
}

function bareServer(post: Post): Server {
  return createServer(async (request, response) => {
    const text = textOf(await bodyOf(request))
    const answer = JSON.stringify(text === undefined ? {} : await post(text))
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer) }
    response.writeHead(text === undefined ? 400 : 201, headers).end(answer)
  })
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (piece: string) => {
      body += piece
    })
    request.on('end', () => resolve(body))
    request.on('error', reject)
  })
}

function textOf(body: string): string | undefined {
  const { text } = JSON.parse(body) as { text?: unknown }
  return typeof text === 'string' ? text : undefined
}
