/** The little that the bench uses of its client libraries, so that the project's types check without them. */
declare module 'amqplib' {
  interface Message {
    content: Buffer
  }
  interface Channel {
    assertQueue(
      queue: string,
      options: { durable: boolean; arguments: Record<string, string> },
    ): Promise<unknown>
    prefetch(count: number): Promise<unknown>
    consume(queue: string, take: (message: Message | null) => void): Promise<unknown>
    ack(message: Message, allUpTo: boolean): void
    sendToQueue(
      queue: string,
      content: Buffer,
      options: { persistent: boolean },
      confirmed: (error: Error | null) => void,
    ): boolean
  }
  interface Connection {
    createChannel(): Promise<Channel>
    createConfirmChannel(): Promise<Channel>
  }
  export function connect(url: string): Promise<Connection>
}

declare module 'ioredis' {
  export class Redis {
    constructor(options: { port: number; host: string; maxRetriesPerRequest: null })
  }
}

declare module 'bullmq' {
  import type { Redis } from 'ioredis'
  export class Queue<T> {
    constructor(name: string, options: { connection: Redis })
    add(name: string, data: T, options: { removeOnComplete: boolean }): Promise<unknown>
    waitUntilReady(): Promise<unknown>
  }
  export class Worker<T> {
    constructor(
      name: string,
      work: (job: { data: T }) => Promise<void>,
      options: { connection: Redis; concurrency: number },
    )
    waitUntilReady(): Promise<unknown>
  }
}

declare module '@nats-io/transport-node' {
  export interface NatsConnection {
    close(): Promise<void>
  }
  export function connect(options: { servers: string }): Promise<NatsConnection>
}

declare module '@nats-io/jetstream' {
  import type { NatsConnection } from '@nats-io/transport-node'

  interface Message {
    string(): string
    ack(): void
  }
  interface Consumer {
    consume(options: { max_messages: number }): Promise<AsyncIterable<Message>>
  }
  interface Client {
    publish(subject: string, payload: string): Promise<unknown>
    consumers: { get(stream: string, consumer: string): Promise<Consumer> }
  }
  interface Manager {
    streams: {
      add(stream: {
        name: string
        subjects: string[]
        storage: 'file'
        retention: 'workqueue'
      }): Promise<unknown>
    }
    consumers: {
      add(stream: string, consumer: { durable_name: string; ack_policy: 'explicit' }): Promise<unknown>
    }
  }
  export function jetstream(connection: NatsConnection): Client
  export function jetstreamManager(connection: NatsConnection): Promise<Manager>
}
