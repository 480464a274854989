/** A request as the sender of a source would make it, with an id that no other has: the reverse of `schemes.ts`. */
import { createHmac } from 'node:crypto'
import { takesType } from './headers.ts'
import type { Scheme, Source } from './source.ts'

/** A request to a source. */
export interface Sample {
  /** By their names in lower case; Content-Type among them. */
  headers: Record<string, string>
  body: string
  /** The header whose value is the secret itself, so that it is not shown; absent where the secret signs. */
  secretHeader?: string
}

/** What a sample is made of. */
interface Facts {
  id: string
  /** Seconds since 1970. */
  time: number
}

const JSON_TYPE = 'application/json'

/** What senders of a scheme send when nothing has happened, or about that. */
const EVENTS: Partial<Record<Scheme, (facts: Facts) => { headers?: Record<string, string>; body: object }>> =
  {
    github: ({ id }) => ({
      headers: { 'x-github-event': 'ping' },
      body: { zen: 'Mind your words, they are important.', hook_id: 0, sample: id },
    }),
    gitlab: ({ id }) => ({
      headers: { 'x-gitlab-event': 'Push Hook' },
      body: { object_kind: 'push', event_name: 'push', sample: id },
    }),
    stripe: ({ id, time }) => ({
      body: { id: `evt_${id}`, object: 'event', type: 'sample', created: time, livemode: false, data: {} },
    }),
    shopify: ({ id }) => ({ headers: { 'x-shopify-topic': 'sample/sent' }, body: { id: 0, sample: id } }),
    slack: ({ id, time }) => ({
      body: { type: 'event_callback', event_id: `Ev${id}`, event_time: time, event: { type: 'sample' } },
    }),
    meta: ({ id, time }) => ({ body: { object: 'sample', entry: [{ id, time, changes: [] }] } }),
    standard: ({ id, time }) => ({
      body: { type: 'sample.sent', timestamp: new Date(time * 1000).toISOString(), data: { sample: id } },
    }),
  }

/**
 * A request that the source takes now, signed with the first of its secrets.
 *
 * @param id Of letters and digits; another one each time, or the sample is a repeat.
 * @param nowMs The node's time, about: a signed time is that.
 */
export function sampleOf(source: Source, { id, nowMs }: { id: string; nowMs: number }): Sample {
  const time = Math.floor(nowMs / 1000)
  const event = EVENTS[source.verify]?.({ id, time }) ?? { body: { sample: id } }
  const { type, body } = bodyOf(source, id, event.body)
  const { dedupe, cloudevents } = source
  const ce = { 'ce-specversion': '1.0', 'ce-type': 'sample', 'ce-source': '/mailroom/try', 'ce-id': id }
  const headers: Record<string, string> = {
    ...{ 'content-type': type, 'user-agent': 'mailroom-try', ...(cloudevents && ce), ...event.headers },
    ...(dedupe.by === 'header' && { [dedupe.name]: id }),
  }
  Object.assign(headers, proofOf(source, { id: headers['webhook-id'] ?? id, time: `${time}`, body }))
  const isSecret = source.verify === 'gitlab' || source.verify === 'token'
  return { headers, body, ...(isSecret && { secretHeader: source.header! }) }
}

/** JSON with the id where the source looks for it; a text, where the source takes no JSON. */
function bodyOf(source: Source, id: string, event: object): { type: string; body: string } {
  if (!takesType(source, ['content-type', JSON_TYPE])) {
    const type = source.types![0]!.replace('/*', '/x-sample')
    return { type, body: `sample=${id}` }
  }
  const { dedupe } = source
  if (dedupe.by === 'json' && Object.keys(event).every((key) => dedupe.pointer !== `/${key}`))
    put(event, dedupe.pointer, id)
  return { type: JSON_TYPE, body: JSON.stringify(event) }
}

/** Puts a value at a JSON pointer (RFC 6901), as members of objects. */
function put(into: object, pointer: string, value: string): void {
  const steps = pointer.slice(1).split('/')
  const keys = steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  const last = keys.pop()!
  let at = into as Record<string, unknown>
  for (const key of keys) {
    const next = at[key]
    at[key] = typeof next === 'object' && next !== null ? next : {}
    at = at[key] as Record<string, unknown>
  }
  at[last] = value
}

/** The headers that show who sent it. */
function proofOf(
  { verify, keys, header, signing }: Source,
  { id, time, body }: { id: string; time: string; body: string },
): Record<string, string> {
  const key = Buffer.from(keys[0] ?? '', 'base64')
  const signed = (text: string) => createHmac('sha256', key).update(text)
  if (signing !== undefined) {
    const { header, prefix, algorithm, encoding, signed, timestamp } = signing
    const [before, after] = signed.split('{body}').map((part) => part.replace('{timestamp}', time))
    const digest = createHmac(algorithm, key).update(`${before}${body}${after}`).digest(encoding)
    return { ...(timestamp !== undefined && { [timestamp]: time }), [header]: prefix + digest }
  }
  if (verify === 'stripe') {
    return { 'stripe-signature': `t=${time},v1=${signed(`${time}.${body}`).digest('hex')}` }
  }
  if (verify === 'standard') {
    const signature = signed(`${id}.${time}.${body}`).digest('base64')
    return { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': `v1,${signature}` }
  }
  if (header === undefined) return {}
  // Node encodes headers as Latin-1.
  const secret = key.toString('latin1')
  return { [header]: header === 'authorization' ? `Bearer ${secret}` : secret }
}
