/** A client that says bytes as they are, and reads answers with a parser of its own. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One answer. */
export interface Answer {
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  body: string
}

const LINE_END = Buffer.from('\r\n')
const HEAD_END = Buffer.from('\r\n\r\n')

/** One connection. */
export class Wire {
  readonly socket: Socket
  readonly #pieces: Buffer[] = []
  #closed = false
  #error: NodeJS.ErrnoException | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (piece) => this.#pieces.push(piece))
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('close', () => {
      this.#closed = true
    })
  }

  /** Connects. The client's half stays open when the server ends its own. */
  static async open(port: number): Promise<Wire> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return new Wire(socket)
  }

  /** True when nothing can be heard any more. */
  get isClosed(): boolean {
    return this.#closed || this.socket.readableEnded
  }

  /** What the connection broke with, if it did. */
  get error(): NodeJS.ErrnoException | undefined {
    return this.#error
  }

  say(what: string | Buffer): void {
    this.socket.write(what)
  }

  /** The answers that have arrived whole; `100 Continue` is none. */
  answers(): Answer[] {
    return parseAnswers(Buffer.concat(this.#pieces)).filter(({ status }) => status !== 100)
  }

  /** Waits until `condition` holds; false when the connection ended or time was up before. */
  async until(condition: () => boolean, waitMs: number): Promise<boolean> {
    const endAt = performance.now() + waitMs
    while (!condition()) {
      if (this.isClosed || performance.now() > endAt) return condition()
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return true
  }

  /** Says that it has said everything, waits until the server has too, and closes. */
  async end(waitMs: number): Promise<void> {
    this.socket.end()
    await this.until(() => this.isClosed, waitMs)
    this.socket.destroy()
  }
}

/** Cuts what was heard into answers, as far as they are whole. */
function parseAnswers(heard: Buffer): Answer[] {
  const answers: Answer[] = []
  for (let from = 0; ; ) {
    const headEnd = heard.indexOf(HEAD_END, from)
    if (headEnd === -1) return answers
    const [statusLine = '', ...lines] = heard.toString('latin1', from, headEnd).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const bodyFrom = headEnd + HEAD_END.length
    const body =
      headers['transfer-encoding'] === 'chunked' ? chunked(heard, bodyFrom) : sized(heard, bodyFrom, headers)
    if (body === undefined) return answers
    const [version, status] = statusLine.split(' ')
    if (version !== 'HTTP/1.1') throw new Error(`not an answer: ${statusLine.slice(0, 100)}`)
    answers.push({ status: Number(status), headers, body: body.bytes.toString() })
    from = body.end
  }
}

interface Body {
  bytes: Buffer
  end: number
}

function sized(heard: Buffer, from: number, headers: Record<string, string>): Body | undefined {
  const end = from + Number(headers['content-length'] ?? 0)
  return end > heard.length ? undefined : { bytes: heard.subarray(from, end), end }
}

function chunked(heard: Buffer, from: number): Body | undefined {
  const pieces: Buffer[] = []
  for (let at = from; ; ) {
    const lineEnd = heard.indexOf(LINE_END, at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(heard.toString('latin1', at, lineEnd), 16)
    const begin = lineEnd + LINE_END.length
    at = begin + size + LINE_END.length
    if (at > heard.length) return undefined
    if (size === 0) return { bytes: Buffer.concat(pieces), end: at }
    pieces.push(heard.subarray(begin, begin + size))
  }
}
