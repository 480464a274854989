/** Readers of `GET /events`, a process of its own: it takes all that they are given, and counts their frames. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { answerQuestions } from './child.ts'

/** Begin, with so many readers of each topic; or stop. */
export type FollowersQuestion = { port: number; counts: Record<string, number> } | 'stop'

/** What one reader was given. */
export interface Heard {
  topic: string
  frames: number
  isOpen: boolean
}

/** Readers that connect at once: the accept queue is not endless. */
const AT_ONCE = 50

let readers: { socket: Socket; heard: Heard }[] = []

answerQuestions(0, async (question: FollowersQuestion) => {
  if (question === 'stop') {
    const all = readers.map(({ socket, heard }) => ({ ...heard, isOpen: !socket.closed }))
    for (const { socket } of readers) socket.destroy()
    readers = []
    return all
  }
  const topics = Object.entries(question.counts).flatMap(([topic, count]) => Array(count).fill(topic))
  for (let begin = 0; begin < topics.length; begin += AT_ONCE) {
    const next = topics.slice(begin, begin + AT_ONCE).map((topic) => open(question.port, topic))
    readers.push(...(await Promise.all(next)))
  }
  return undefined
})

/** Resolves when it is answered. @throws {Error} When the answer is not 200. */
async function open(port: number, topic: string): Promise<(typeof readers)[number]> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`GET /events?only=${topic} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer]
  if (!head.includes('HTTP/1.1 200')) throw new Error(`refused: ${head}`)
  const heard = { topic, frames: 0, isOpen: true }
  const event = `event: ${topic}`
  socket.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf(event); at !== -1; at = chunk.indexOf(event, at + 1)) heard.frames++
  })
  return { socket, heard }
}
