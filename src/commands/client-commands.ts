/** The commands that call a running node: syntax, help, and the function that runs each. */
import type { ApiClient } from '../http/api-client.ts'
import type { ClientConfig } from '../settings/config.ts'

/** One command. With `json` it prints one JSON document, or one a line of those that come one after the other. */
export interface ClientCommand {
  /** With its operands: `<required>`, `[optional]`, `<several..>`. */
  usage: string
  summary: string
  /** The help of its operands, by their names in `usage`. */
  operands?: Record<string, string>
  /** The flags it has besides `json`, `url`, `token` and `timeout`. */
  flags?: string[]
  /** What is typed after `mailroom`, and its purpose. */
  examples: [typed: string, what: string][]
  run(client: ApiClient, operands: string[], config: ClientConfig): Promise<void>
}

const ID = { id: 'id of the message, as `mailroom dead list` prints it' }
const SOME_ID = '01KAXB5Z7T4N8V2M6Q0R3W9C01'

/** `mailroom …`. */
export const CLIENT_COMMANDS: ClientCommand[] = [
  {
    usage: 'scale <orders..>',
    summary: 'change the number of actors, live',
    operands: { orders: 'such as messages=4' },
    examples: [
      ['scale messages=4', 'four messages actors'],
      ['scale logging=2 messages=1', 'several roles, one after the other'],
    ],
    run: async (client, orders, config) => (await import('./operations.ts')).scale(client, orders, config),
  },
  {
    usage: 'restart [role]',
    summary: 'restart the actors of a role, or all, one by one',
    operands: { role: 'facade, logging or messages; all roles without it' },
    examples: [
      ['restart', 'all actors, without a failed request'],
      ['restart messages', 'messages actors only'],
    ],
    run: async (client, [role], config) => (await import('./operations.ts')).restart(client, role, config),
  },
  {
    usage: 'status',
    summary: 'show the actors',
    flags: ['watch'],
    examples: [
      ['status', 'once'],
      ['status --watch', 'every second, until q or Ctrl-C'],
      ["status --json | jq '.[].waiting'", 'for a script'],
    ],
    run: async (client, _, config) => (await import('./status.ts')).status(client, config),
  },
  {
    usage: 'cluster',
    summary: 'show both Hazelcast clusters; exit code 0 when a member may be stopped',
    flags: ['wait'],
    examples: [
      ['cluster', 'members, whether all is copied, how full they are'],
      ['cluster --wait 2m', 'between two members of a rolling restart'],
      ["cluster --json | jq '.clusters[].problems'", 'for a script'],
    ],
    run: async (client, _, config) => (await import('./cluster.ts')).cluster(client, config),
  },
  {
    usage: 'send [text]',
    summary: 'send messages; retries until each is stored, once',
    operands: { text: 'one message; - for standard input, one message a line' },
    flags: ['file', 'whole', 'skip-empty', 'ids'],
    examples: [
      ['send "hello"', 'one message'],
      ['send --file lines.txt', 'one message a line'],
      ['send --whole --file order.json', 'one message of several lines'],
      ['send -- "--dashes first"', 'a text that looks like a flag'],
      ['send - < lines.txt', 'the output of another program'],
    ],
    run: async (client, operands, config) => {
      const { inputOf } = await import('./send-input.ts')
      const input = inputOf(operands[0], config)
      const { receiptsOf, send } = await import('./send.ts')
      await send(client, input, receiptsOf(input, config))
    },
  },
  {
    usage: 'tail',
    summary: 'show what happens, as it happens, until Ctrl-C; connects again by itself',
    flags: ['only', 'after', 'json'],
    examples: [
      ['tail', 'messages logged, delivered and dead, and actors that change'],
      ['tail --only dead', 'dead letters only'],
      ["tail --only logged --json | jq -r '.id'", 'one JSON object a line, for a script'],
    ],
    run: async (client, _, config) => (await import('./tail.ts')).tail(client, config),
  },
  {
    usage: 'redeliver <id>',
    summary: 'run the handler, or forward, once more for a delivered message',
    operands: { id: 'id of the message' },
    examples: [[`redeliver ${SOME_ID}`, 'the receiver had it and lost it']],
    run: async (client, [id], config) => (await import('./delivery.ts')).redeliver(client, id!, config),
  },
  {
    usage: 'pause',
    summary: 'stop delivering until `mailroom resume`; posts are taken all the while',
    examples: [['pause', 'before the receiver is worked on; it lasts over restarts']],
    run: async (client, _, config) => (await import('./delivery.ts')).pause(client, true, config),
  },
  {
    usage: 'resume',
    summary: 'deliver again after `mailroom pause`',
    examples: [['resume', 'the oldest messages first']],
    run: async (client, _, config) => (await import('./delivery.ts')).pause(client, false, config),
  },
  {
    usage: 'redrive',
    summary: 'put back what one cluster has lost, from the other; handlers may run AGAIN',
    flags: ['since'],
    examples: [
      ['redrive', 'after a whole cluster restarted empty; may be repeated'],
      [`redrive --since ${SOME_ID}`, 'only messages younger than this id'],
    ],
    run: async (client, _, config) => (await import('./redrive.ts')).redrive(client, config),
  },
  {
    usage: 'try <source>',
    summary: 'send a signed sample to a source, to see the way work',
    operands: { source: 'name of the source in the file of sources' },
    flags: ['sources'],
    examples: [
      ['try github --sources sources.json', 'the request, the answer, and where to look next'],
      ['try stripe', 'with the file in MAILROOM_SOURCES; secrets in variables as for the node'],
    ],
    run: async (client, [source], config) => (await import('./try.ts')).tryOut(client, source!, config),
  },
  {
    usage: 'loss',
    summary: 'show what a Hazelcast cluster has lost, until it is confirmed',
    flags: ['confirm'],
    examples: [
      ['loss', 'what, about how much, since when, the next step; the exit code is 1 while there is a loss'],
      ['loss --confirm', 'has been seen to: no node reports it any more'],
    ],
    run: async (client, _, config) => (await import('./loss.ts')).loss(client, config),
  },
]

/** `mailroom dead …`. */
export const DEAD_COMMANDS: ClientCommand[] = [
  {
    usage: 'list',
    summary: 'list them, oldest first',
    flags: ['source', 'reason'],
    examples: [
      ['dead list', 'id, when, attempts, reason, last error, text'],
      ['dead list --source github', 'of one source'],
      ['dead list --json | jq -r .text', 'one JSON object a line, for a script'],
    ],
    run: async (client, _, config) => (await import('./dead.ts')).list(client, config),
  },
  {
    usage: 'groups',
    summary: 'count them by reason and error, the most first',
    examples: [
      ['dead groups', 'count, group, reason, error'],
      ['dead replay --all --group 5f4dcc3b5aa765d6', 'all of one group'],
    ],
    run: async (client, _, config) => (await import('./dead.ts')).groups(client, config),
  },
  {
    usage: 'show <id>',
    summary: 'show one: text, reason, attempts, errors',
    operands: ID,
    examples: [[`dead show ${SOME_ID}`, 'as JSON']],
    run: async (client, [id], config) => (await import('./dead.ts')).show(client, id!, config),
  },
  {
    usage: 'replay [id]',
    summary: 'make one, or all, pending again',
    operands: ID,
    flags: ['all', 'source', 'reason', 'group'],
    examples: [
      [`dead replay ${SOME_ID}`, 'one'],
      ['dead replay --all', 'all, after the handler has been fixed'],
      ['dead replay --all --source github', 'all of one source'],
      ['dead replay --all --reason outage', 'all whose reason begins so'],
    ],
    run: async (client, [id], config) => (await import('./dead.ts')).replay(client, id, config),
  },
  {
    usage: 'purge [id]',
    summary: 'delete one, or all; their messages stay in the log',
    operands: ID,
    flags: ['all', 'source', 'reason', 'group', 'yes'],
    examples: [
      [`dead purge ${SOME_ID}`, 'one'],
      ['dead purge --all', 'all, after it has asked'],
      ['dead purge --all --yes', 'all, for a script'],
    ],
    run: async (client, [id], config) => (await import('./dead.ts')).purge(client, id, config),
  },
]
