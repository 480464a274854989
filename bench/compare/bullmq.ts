/** A queue of BullMQ: a post is answered when Redis has written it to its append-only file. */
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import type { Store, Take } from './service.ts'

const NAME = 'messages'
const CONCURRENCY = 64

export async function openStore(port: string): Promise<Store> {
  const queue = new Queue<{ text: string }>(NAME, { connection: connection(port) })
  await queue.waitUntilReady()
  return (text) => queue.add('message', { text }, { removeOnComplete: true })
}

export async function consume(port: string, take: Take): Promise<void> {
  const work = async ({ data }: { data: { text: string } }) => take(data.text)
  const worker = new Worker<{ text: string }>(NAME, work, {
    connection: connection(port),
    concurrency: CONCURRENCY,
  })
  await worker.waitUntilReady()
}

function connection(port: string): Redis {
  return new Redis({ port: Number(port), host: '127.0.0.1', maxRetriesPerRequest: null })
}
