/**
 * A durable classic queue of RabbitMQ: a post is answered when the broker has confirmed the persistent message. The
 * broker confirms a message when it is synced, or without a sync when the consumer has acknowledged it. So that a 201
 * means synced, as it does for all others, the consumer acknowledges 20 ms later, all that it has taken at once.
 */
import { type Channel, connect, type Message } from 'amqplib'
import type { Store, Take } from './service.ts'

const QUEUE = 'messages'
const PREFETCH = 4096
const ACKNOWLEDGE_MS = 20

export async function openStore(port: string): Promise<Store> {
  const channel = await (await open(port)).createConfirmChannel()
  await declare(channel)
  return (text) =>
    new Promise<void>((resolve, reject) => {
      channel.sendToQueue(QUEUE, Buffer.from(text), { persistent: true }, (error) =>
        error ? reject(error) : resolve(),
      )
    })
}

export async function consume(port: string, take: Take): Promise<void> {
  const channel = await (await open(port)).createChannel()
  await declare(channel)
  await channel.prefetch(PREFETCH)
  let last: Message | undefined
  const acknowledge = (message: Message) => {
    channel.ack(message, true) // And all before it.
    const isLast = message === last
    if (isLast) last = undefined
    else setTimeout(acknowledge, ACKNOWLEDGE_MS, last)
  }
  await channel.consume(QUEUE, (message) => {
    if (message === null) return
    take(message.content.toString())
    if (last === undefined) setTimeout(acknowledge, ACKNOWLEDGE_MS, message)
    last = message
  })
}

function declare(channel: Channel): Promise<unknown> {
  return channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'classic' } })
}

function open(port: string) {
  return connect(`amqp://127.0.0.1:${port}`)
}
