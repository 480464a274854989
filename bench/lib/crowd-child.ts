/** A crowd, a process of its own: clients that all do the same, each again and again, until they are told to stop. */
import { Agent, type ClientRequest, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Crowded, CrowdQuestion } from '../crowd.ts'
import { bulkTextOf } from './bulk.ts'
import { answerQuestions } from './child.ts'
import { SIZE } from './load.ts'

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
const LINES = `${JSON.stringify({ text: bulkTextOf(SIZE) })}\n`.repeat(100)
/** After an answer that is no success. */
const PAUSE_MS = 1000

let stop: (() => Promise<Crowded>) | undefined

answerQuestions(0, (question: CrowdQuestion) => {
  if (question.kind !== 'stop') {
    stop = begin(question)
    return undefined
  }
  return stop!()
})

function begin({
  kind,
  port,
  count,
  paths,
}: Exclude<CrowdQuestion, { kind: 'stop' }>): () => Promise<Crowded> {
  const crowded: Crowded = { doneCount: 0, bytes: 0, refusals: {} }
  const running = new Set<ClientRequest>()
  let isOver = false
  const ask = (path: string, body?: (outgoing: ClientRequest) => void): Promise<void> =>
    new Promise((resolve) => {
      const method = body === undefined ? 'GET' : 'POST'
      const headers = body === undefined ? {} : { 'content-type': 'application/x-ndjson' }
      const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent })
      running.add(outgoing)
      const failed = (how: string) => {
        running.delete(outgoing)
        if (!isOver) crowded.refusals[how] = (crowded.refusals[how] ?? 0) + 1
        setTimeout(resolve, isOver ? 0 : PAUSE_MS)
      }
      outgoing.on('error', (error) => failed(error.message))
      outgoing.on('response', (response) => {
        response.on('data', (chunk: Buffer) => {
          crowded.bytes += chunk.length
        })
        response.on('error', () => {})
        response.on('close', () => {
          if (!response.complete) return failed('cut')
          if (response.statusCode! >= 300) return failed(String(response.statusCode))
          running.delete(outgoing)
          crowded.doneCount++
          resolve()
        })
      })
      if (body === undefined) outgoing.end()
      else body(outgoing)
    })
  const endless = (outgoing: ClientRequest) => {
    const write = () => {
      while (!isOver && !outgoing.destroyed) {
        crowded.bytes += LINES.length
        if (!outgoing.write(LINES)) return void outgoing.once('drain', write)
      }
      outgoing.end()
    }
    write()
  }
  const clients = Array.from({ length: count }, async (_, index) => {
    // They do not all come in the same millisecond.
    await sleep((index / count) * 1000)
    while (!isOver) {
      if (kind === 'streams') await ask('/messages?acks=errors', endless)
      else await ask(paths[index % paths.length]!)
    }
  })
  return async () => {
    isOver = true
    if (kind === 'gets') for (const outgoing of running) outgoing.destroy()
    await Promise.all(clients)
    return crowded
  }
}
