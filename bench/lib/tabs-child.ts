/**
 * Tabs of the dashboard, a process of its own: each asks for what a tab in a browser asks for (src/http/page/live.js and
 * log.js), until it is told to stop. A hidden tab asks for nothing (test/process/page.test.ts).
 */
import { Agent, type ClientRequest, get } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerQuestions } from './child.ts'

/** What tabs are asked: to open so many, or to close all. */
export type TabsQuestion = { kind: 'open'; port: number; count: number; isLog: boolean } | { kind: 'close' }

/** What all tabs together got. */
export interface Tabbed {
  /** Frames of `stats`. */
  frameCount: number
  /** Other answers. */
  answerCount: number
  bytes: number
}

const READY_MS = 2000
const ROWS = 50
const BUSY_MS = 10_000
const LOG_PATH = `/log?limit=${ROWS}&text=200`

let close: (() => Tabbed) | undefined

answerQuestions(0, (question: TabsQuestion) => {
  if (question.kind === 'close') return close!()
  return open(question)
})

async function open({ port, count, isLog }: Exclude<TabsQuestion, { kind: 'close' }>): Promise<void> {
  const tabbed: Tabbed = { frameCount: 0, answerCount: 0, bytes: 0 }
  const streams: ClientRequest[] = []
  const timers: NodeJS.Timeout[] = []
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  let isOver = false
  close = () => {
    isOver = true
    for (const timer of timers) clearInterval(timer)
    for (const stream of streams) stream.destroy()
    agent.destroy()
    return tabbed
  }
  const host = '127.0.0.1'
  const ask = (path: string) =>
    new Promise<void>((resolve, reject) => {
      get({ host, port, path, agent }, (response) => {
        response.on('error', resolve) // It was cut: the tabs are closed.
        response.on('data', (chunk: Buffer) => {
          tabbed.bytes += chunk.length
        })
        response.on('end', () => {
          tabbed.answerCount++
          if (response.statusCode === 200) resolve()
          else reject(new Error(`${path} was answered ${response.statusCode}`))
        })
      }).on('error', (error) => (isOver ? resolve() : reject(error)))
    })
  const openOne = () => {
    // They have been open for a while.
    let [accepted, readAt] = [-1, performance.now() - Math.random() * BUSY_MS]
    let isReading = false
    const follow = async (now: number) => {
      if (isReading || now === accepted) return
      if (now - accepted > ROWS && performance.now() - readAt < BUSY_MS) return
      accepted = now
      readAt = performance.now()
      isReading = true
      await ask(LOG_PATH)
      isReading = false
    }
    const stream = get({ host, port, path: '/events?only=stats', agent: false }, (response) => {
      const lines = createInterface({ input: response.on('error', () => {}) })
      lines.on('error', () => {}) // It was destroyed.
      lines.on('line', (line) => {
        if (!line.startsWith('data: {') || isOver) return
        tabbed.frameCount++
        tabbed.bytes += line.length
        if (isLog) void follow((JSON.parse(line.slice(6)) as { accepted: number }).accepted)
      })
    }).on('error', () => {})
    streams.push(stream)
    timers.push(setInterval(() => void ask('/readyz'), READY_MS))
  }
  for (let index = 0; index < count; index++) {
    openOne()
    // They were not all opened in the same millisecond.
    await sleep(READY_MS / count)
  }
}
