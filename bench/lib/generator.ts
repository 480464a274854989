/**
 * The load generator, a process of its own: keep-alive connections, each of which posts its next message when the last
 * one is answered. It writes requests by hand and reads of an answer only its status and length, so that the machine is
 * left to the server. At the end every connection waits for its answer: no request is left in doubt.
 */
import { createHmac, createSecretKey } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { answerQuestions } from './child.ts'
import { percentile } from './figures.ts'
import type { Load, Loaded } from './load.ts'
import { fillerOf, idOf, tallyOf } from './texts.ts'

const ANSWER_MS = 30_000
const CREATED = '201'

answerQuestions(0, (load: Load) => run(load))

async function run({ port, connections, seconds, run, size, keyed = false, secret }: Load): Promise<Loaded> {
  const filler = fillerOf(run, size)
  const length = '{"text":""}'.length + size
  const signedHead = `POST /in/bench HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: text/plain\r\nContent-Length: ${size}\r\n`
  // To make a key takes four times as long as to sign a text with it.
  const key = createSecretKey(Buffer.from(secret ?? ''))
  const signedRequestOf = (text: string) =>
    `${signedHead}X-Signature: ${createHmac('sha256', key).update(text).digest('hex')}\r\n\r\n${text}`
  const head = `POST /messages HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n`
  const requestOf = (id: string) =>
    secret !== undefined
      ? signedRequestOf(id + filler)
      : `${head}${keyed ? `Idempotency-Key: ${id}\r\n` : ''}\r\n{"text":"${id}${filler}"}`

  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)))
  const latencies: number[] = []
  let sent = 0
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const endAt = startedAt + seconds * 1000
  await Promise.all(
    sockets.map(
      (connection) =>
        new Promise<void>((resolve, reject) => {
          let sentAt = 0
          const next = (now: number) => {
            if (now >= endAt) return resolve()
            sentAt = now
            connection.socket.write(requestOf(idOf(run, sent++)), 'latin1')
          }
          connection.failed = reject
          connection.answered = (status) => {
            if (status !== CREATED) return reject(new Error(`A post was answered ${status}`))
            const now = performance.now()
            latencies.push(now - sentAt)
            next(now)
          }
          next(startedAt)
        }),
    ),
  )
  const elapsed = (performance.now() - startedAt) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  for (const { socket } of sockets) socket.destroy()
  latencies.sort((a, b) => a - b)
  const { count, checksum } = tallyOf(run, sent, size)
  const [p50Ms, p99Ms, maxMs] = [0.5, 0.99, 1].map((share) => percentile(latencies, share)) as [
    number,
    number,
    number,
  ]
  return {
    ...{ acknowledged: { count, checksum }, seconds: elapsed, p50Ms, p99Ms, maxMs },
    generatorCpuUs: (user + system) / count,
  }
}

interface Connection {
  socket: Socket
  answered: (status: string) => void
  failed: (error: Error) => void
}

function open(port: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let heard = ''
    const onread = {
      buffer: Buffer.alloc(16_384),
      callback: (length: number, buffer: Uint8Array) => {
        heard += (buffer as Buffer).toString('latin1', 0, length)
        const bodyAt = heard.indexOf('\r\n\r\n') + 4
        if (bodyAt < 4) return true
        const bodyLength = /\r\ncontent-length: (\d+)/i.exec(heard)?.[1]
        if (bodyLength === undefined) connection.failed(new Error('An answer has no Content-Length'))
        if (heard.length < bodyAt + Number(bodyLength)) return true
        const status = heard.slice(9, 12)
        heard = ''
        connection.answered(status)
        return true
      },
    }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    const connection: Connection = { socket, answered: () => {}, failed: reject }
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`No answer in ${ANSWER_MS / 1000} s`)))
    socket.once('connect', () => resolve(connection))
    socket.on('error', (error) => connection.failed(error))
    socket.on('close', () => connection.failed(new Error('The server closed a connection')))
  })
}
