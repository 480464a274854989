/**
 * Clients that do not wait for each other: posts are due at a fixed rate, whatever the server does. Answers are
 * read just far enough to know what became of each post, so that the machine is left to the server. Each
 * connection has one request under way at most; more are opened as they are needed. A client that is refused
 * comes again when it was told to, not before.
 */
import { connect, type Socket } from 'node:net'
import { History } from './history.ts'

/** What became of the posts of one run. */
export class Offered {
  /** `failures` holds those that were neither acknowledged nor refused. */
  readonly history = new History()
  /** Texts whose posts were refused with 429 or 503. */
  readonly refused = new Set<string>()
  /** Refusals that did not say when to come again, or said something may have been stored. */
  readonly badRefusals: string[] = []
  /** Due when every client was busy or waiting: not sent. */
  unsentCount = 0
  /** From the moment a post was due, in ms; sorted. */
  readonly acknowledgedMs: number[] = []
  /** From the moment it was sent: how fast the door says no. */
  readonly refusedMs: number[] = []
  /** From the moment a post was due until this process came to send it. */
  readonly lateMs: number[] = []
  /** Acknowledged in each second. */
  readonly perSecond: number[] = []
}

/** How to offer. */
export interface Offer {
  port: number
  /** Posts due a second; undefined: a new one on each connection whenever it was answered. */
  perSecond: number | undefined
  connectionsMax: number
  textOf: (count: number) => string
  /** Looked at every millisecond or so. */
  until: (offered: Offered, elapsedMs: number) => boolean
}

const ANSWER_MS = 10_000
/** New clients in each millisecond or so: a crowd, yet not all at the same moment. */
const NEWCOMERS = 2

/** Offers posts until told, and waits for the answers to those that were sent. */
export async function offer({ port, perSecond, connectionsMax, textOf, until }: Offer): Promise<Offered> {
  const offered = new Offered()
  const idle: Connection[] = []
  const open = new Set<Connection>()
  const began = performance.now()
  let dueCount = 0
  let busyCount = 0
  let newcomers = 0

  const settle = (connection: Connection, { answer, text, dueMs, sentMs }: Answered) => {
    busyCount--
    const status = Number(answer.slice(9, 12))
    if (status === 201) {
      offered.history.acknowledge(/\{"id":"(\w+)"/.exec(answer)![1]!, text, performance.now())
      offered.acknowledgedMs.push(dueMs)
      const second = Math.floor((performance.now() - began) / 1000)
      offered.perSecond[second] = (offered.perSecond[second] ?? 0) + 1
    } else if (status === 429 || status === 503) {
      offered.refused.add(text)
      offered.refusedMs.push(sentMs)
    } else offered.history.failures.push({ how: status, text, at: Date.now(), tookMs: dueMs })
    const retryAfter = /\r\nretry-after: ([1-9]\d*)\r\n/i.exec(answer)?.[1]
    if (status === 201 || retryAfter === undefined) idle.push(connection)
    else setTimeout(() => idle.push(connection), Number(retryAfter) * 1000).unref()
    if (perSecond === undefined && !ended) sendAll()
    if (status !== 201 && (retryAfter === undefined || !answer.includes('"outcome":"none"'))) {
      offered.badRefusals.push(answer)
    }
  }

  const mayOpen = () => open.size < connectionsMax && newcomers < NEWCOMERS

  const send = (dueAt: number) => {
    const connection = idle.pop() ?? (mayOpen() ? new Connection(port) : undefined)
    if (connection === undefined) {
      offered.unsentCount++
      return
    }
    if (!open.has(connection)) newcomers++
    open.add(connection)
    offered.lateMs.push(performance.now() - dueAt)
    const text = textOf(dueCount)
    offered.history.attempted.add(text)
    busyCount++
    connection.ask(text, dueAt, {
      answered: (answered) => settle(connection, answered),
      broken() {
        busyCount--
        open.delete(connection)
        const tookMs = performance.now() - dueAt
        offered.history.failures.push({ how: 'closed', text, at: Date.now(), tookMs })
      },
    })
  }

  const sendAll = () => {
    for (; idle.length > 0 || mayOpen(); dueCount++) send(performance.now())
  }

  let ended = false
  while (!until(offered, performance.now() - began)) {
    newcomers = 0
    if (perSecond === undefined) sendAll()
    else {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond)
      for (; dueCount < due; dueCount++) send(began + (dueCount * 1000) / perSecond)
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  ended = true
  const endAt = performance.now() + ANSWER_MS
  while (busyCount > 0 && performance.now() < endAt) await new Promise((resolve) => setTimeout(resolve, 10))
  for (const connection of open) connection.close()
  for (const times of [offered.acknowledgedMs, offered.refusedMs, offered.lateMs]) times.sort((a, b) => a - b)
  return offered
}

/** The smallest of sorted values that `share` (0 to 1) of them do not exceed; 0 when there are none. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

interface Answered {
  answer: string
  text: string
  /** Since it was due. */
  dueMs: number
  /** Since it was sent. */
  sentMs: number
}

interface Ends {
  answered(answered: Answered): void
  broken(): void
}

/** One connection, with at most one request under way. */
class Connection {
  readonly #socket: Socket
  #heard = ''
  #underWay: { text: string; dueAt: number; sentAt: number; ends: Ends } | undefined

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (piece: string) => {
      this.#heard += piece
      // Every answer here is one JSON object: the answer is whole when that is.
      if (this.#underWay === undefined || !this.#heard.endsWith('}')) return
      const { text, dueAt, sentAt, ends } = this.#underWay
      const now = performance.now()
      const answer = this.#heard
      this.#heard = ''
      this.#underWay = undefined
      ends.answered({ answer, text, dueMs: now - dueAt, sentMs: now - sentAt })
    })
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#underWay?.ends.broken())
  }

  ask(text: string, dueAt: number, ends: Ends): void {
    this.#underWay = { text, dueAt, sentAt: performance.now(), ends }
    this.#socket.write(
      `POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    )
  }

  close(): void {
    this.#underWay = undefined
    this.#socket.destroy()
  }
}
