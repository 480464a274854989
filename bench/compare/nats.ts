/** A file stream of NATS JetStream: a post is answered when the server has synced the message and says so. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import type { Store, Take } from './service.ts'

const STREAM = 'messages'
const CONSUMER = 'consumer'
const UNACKNOWLEDGED = 256

export async function openStore(port: string): Promise<Store> {
  const connection = await open(port)
  const manager = await jetstreamManager(connection)
  await manager.streams.add({ name: STREAM, subjects: [STREAM], storage: 'file', retention: 'workqueue' })
  await manager.consumers.add(STREAM, { durable_name: CONSUMER, ack_policy: 'explicit' })
  const client = jetstream(connection)
  return (text) => client.publish(STREAM, text)
}

export async function consume(port: string, take: Take): Promise<void> {
  const consumer = await jetstream(await open(port)).consumers.get(STREAM, CONSUMER)
  const messages = await consumer.consume({ max_messages: UNACKNOWLEDGED })
  const takeAll = async () => {
    for await (const message of messages) {
      take(message.string())
      message.ack()
    }
  }
  void takeAll()
}

function open(port: string) {
  return connect({ servers: `127.0.0.1:${port}` })
}
