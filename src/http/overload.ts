/**
 * The door in front of Koa: posts beyond what admission allows are refused here, where a refusal costs a third
 * of an answer. Who is refused and does not wait is not listened to for a while: else refusing those who come
 * again at once would take the time of those who are served.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { MailroomError } from '../runtime/errors.ts'
import { REFUSED_PAUSE_MS } from '../runtime/timings.ts'
import { TEXT_MAX_BYTES } from '../storage/limits.ts'
import { Admission } from './admission.ts'
import type { Reach } from './context.ts'
import { problemOf } from './problems.ts'
import type { Turns } from './turns.ts'

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Puts the door in front of `answer`.
 *
 * @param turns Where posts that were let in wait for theirs.
 */
export function createDoor(reach: Reach, turns: Turns, answer: Listener): Listener {
  const { clock, random, logger, closing } = reach
  const admission = new Admission(clock)
  const idPrefix = `refused-${Math.floor(random() * 36 ** 8).toString(36)}`
  let refusedCount = 0
  let wasOverloaded = false

  const refuse = (request: IncomingMessage, response: ServerResponse) => {
    const requestId = `${idPrefix}-${(++refusedCount).toString(36)}`
    const error = new MailroomError('MR_OVERLOADED', { what: 'posts', limit: admission.bound })
    const { status, headers, body } = problemOf(error, { requestId, random, reading: false })
    response.writeHead(status, {
      ...headers,
      'X-Request-Id': requestId,
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
      'Content-Length': Buffer.byteLength(body),
      ...((closing() || !isSmall(request)) && { Connection: 'close' }),
    })
    const { socket } = request
    response.on('close', () => {
      // Node has the socket resumed to read what is left of this request; the next one is to wait.
      clock.soon(() => {
        if (socket.destroyed || closing()) return
        socket.pause()
        clock.after(REFUSED_PAUSE_MS, () => socket.resume(), { unref: true })
      })
    })
    response.end(body)
  }

  const tellChange = () => {
    if (wasOverloaded === admission.overloaded) return
    wasOverloaded = admission.overloaded
    if (wasOverloaded) logger.warn({ limit: admission.bound }, 'overloaded: posts are refused')
    else logger.info({ refusedCount }, 'no longer overloaded')
  }

  return (request, response) => {
    if (!isPost(request)) return answer(request, response)
    const leave = admission.enter()
    tellChange()
    if (leave === undefined) return refuse(request, response)
    response.once('close', leave)
    turns.add(() => {
      if (!response.destroyed) answer(request, response)
    })
  }
}

/** A post of messages that are known by the end of the request; a stream of lines bounds itself. */
function isPost({ method, url = '', headers }: IncomingMessage): boolean {
  const isToMessages = url === '/messages' || url.startsWith('/messages?')
  return method === 'POST' && isToMessages && !headers['content-type']?.startsWith('application/x-ndjson')
}

/** True when what is left of a request may as well be read to its end. */
function isSmall({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length']) <= TEXT_MAX_BYTES
}
