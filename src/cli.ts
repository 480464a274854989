/** The command line: what a user types, and with which exit code it ends. The only door to yargs. */
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import type { Receipts, Source } from './commands/send.ts'
import { ApiClient, ApiError, Unreachable } from './http/api-client.ts'
import { environmentOf, resolveConfig, SETTINGS, variableOf } from './runtime/config.ts'
import { ROLES, type Role } from './runtime/directory.ts'
import { isMailroomError, MailroomError } from './runtime/errors.ts'
import { exit } from './runtime/lifecycle.ts'

/** The exit code of a bad flag, variable or value (EX_CONFIG of sysexits). */
const EXIT_CONFIG = 78
/** The exit code of a program whose reader went away, as in `mailroom dead list | head`. */
const EXIT_PIPE = 141
const DEFAULT_URL = 'http://127.0.0.1:8080'
const SEND_TIMEOUT_SECONDS = 60

type ClientArguments = { url: string; token?: string | undefined }
type SendArguments = {
  text?: string | undefined
  file?: string | undefined
  whole: boolean
  'skip-empty': boolean
  ids: boolean
  json: boolean
}

const typed = hideBin(process.argv)
try {
  await commands(yargs(typed.length === 0 ? ['--help'] : typed)).parseAsync()
} catch (error) {
  process.stderr.write(`mailroom: ${isForPeople(error) ? error.message : inspect(error)}\n`)
  process.exitCode = isMailroomError(error, 'MR_CONFIG_INVALID') ? EXIT_CONFIG : 1
}

/** Whether an error is told by its sentence alone; anything else is a bug, shown with its stack. */
function isForPeople(error: unknown): error is Error {
  const isOfSystem = error instanceof Error && 'syscall' in error
  return isMailroomError(error) || error instanceof ApiError || error instanceof Unreachable || isOfSystem
}

function commands(cli: Argv): Argv {
  return cli
    .scriptName('mailroom')
    .usage('$0 <command>\n\nTakes messages over HTTP and never loses one it has acknowledged.')
    .parserConfiguration({ 'camel-case-expansion': false, 'dot-notation': false, 'boolean-negation': false })
    .command('start', 'run a node until Ctrl-C', startOptions, async (flags) => {
      const config = resolveConfig({ flags })
      const { start } = await import('./commands/start.ts')
      await start(config)
    })
    .command(
      'scale <orders..>',
      'change the number of actors, live',
      (argv) =>
        clientOptions(argv)
          .positional('orders', {
            describe: 'such as messages=4',
            type: 'string',
            array: true,
            demandOption: true,
          })
          .example('$0 scale messages=4', 'four messages actors')
          .example('$0 scale logging=2 messages=1', 'several roles, one after the other'),
      (args) =>
        withClient(args, async (client) => (await import('./commands/scale.ts')).scale(client, args.orders)),
    )
    .command(
      'restart [role]',
      'restart the actors of a role, or all, one by one',
      (argv) =>
        clientOptions(argv)
          .positional('role', { choices: ROLES, type: 'string' })
          .example('$0 restart', 'all actors, without a failed request')
          .example('$0 restart messages', 'messages actors only'),
      (args) =>
        withClient(args, async (client) =>
          (await import('./commands/restart.ts')).restart(client, args.role as Role | undefined),
        ),
    )
    .command(
      'status',
      'show the actors',
      (argv) =>
        clientOptions(argv)
          .option('watch', {
            type: 'boolean',
            default: false,
            describe: 'again every second, with rates, until q or Ctrl-C',
          })
          .option('json', { type: 'boolean', default: false, describe: 'as JSON, for scripts' })
          .example('$0 status', 'once')
          .example('$0 status --watch', 'every second, until Ctrl-C')
          .example("$0 status --json | jq '.[].waiting'", 'for a script'),
      (args) =>
        withClient(args, async (client) => (await import('./commands/status.ts')).status(client, args)),
    )
    .command(
      'send [text]',
      'send messages; tries again until each is stored, once',
      (argv) =>
        clientOptions(argv)
          .positional('text', { type: 'string', describe: 'one message; - for standard input, one a line' })
          // Without it yargs takes a lone - for a flag without a name.
          .nargs('text', 1)
          .option('file', { type: 'string', requiresArg: true, describe: 'a file, one message a line' })
          .option('whole', { type: 'boolean', default: false, describe: 'the whole input is one message' })
          .option('skip-empty', { type: 'boolean', default: false, describe: 'pass over empty lines' })
          .option('ids', { type: 'boolean', default: false, describe: 'print the id of each message' })
          .option('json', { type: 'boolean', default: false, describe: 'print {"line","id","at"} of each' })
          .option('timeout', {
            type: 'number',
            default: SEND_TIMEOUT_SECONDS,
            describe: 'seconds to go on trying while it is away or overloaded',
          })
          .example('$0 send "hello"', 'one message')
          .example('$0 send --file lines.txt', 'one message a line')
          .example('tail -f app.log | $0 send -', 'what another program prints')
          .example('$0 send --whole --file order.json', 'one message of several lines'),
      (args) =>
        withClient(args, async (client) => {
          const { send } = await import('./commands/send.ts')
          await send(client, sourceOf(args), { receipts: receiptsOf(args), forMs: secondsOf(args) * 1000 })
        }),
    )
    .command('dead', 'dead letters: messages that could not be handled', deadCommands)
    .example('$0 start --messages 4 --handler ./handler.js', '')
    .example('$0 send "hello"', '')
    .epilogue(`Every flag is also a variable: --handler-timeout is ${variableOf('handler-timeout')}.`)
    .version(versionOf())
    .demandCommand(1, 'Expected a command; see mailroom --help')
    .recommendCommands()
    .strict()
    .detectLocale(false)
    .wrap(Math.min(110, process.stdout.columns ?? 80))
    .exitProcess(false)
    .fail((message: string | null, error) => {
      // Without a message it is a command that failed, not what was typed.
      throw message === null ? error : new MailroomError('MR_CONFIG_INVALID', { problems: [message] })
    })
}

function startOptions(argv: Argv): Argv {
  for (const [flag, { help, shape, fallback, group }] of Object.entries(SETTINGS)) {
    const isSwitch = shape === ''
    argv.option(flag, {
      describe: `${help}${isSwitch || fallback === null ? '' : ` [${fallback}]`}`,
      group: `${group}:`,
      // Read as text: what is wrong with a value is said in one place, for flags and variables alike.
      type: isSwitch ? 'boolean' : 'string',
    })
  }
  return (
    argv
      .example('$0 start', 'on http://127.0.0.1:8080, data in ./data')
      .example(
        '$0 start --handler ./handler.js --handler-concurrency 8',
        'calls a function of yours for each message',
      )
      .example('$0 start --host 0.0.0.0 --token "$SECRET"', 'open to the network, with a token')
      .epilogue('Durations: 500ms, 30s, 5m, 12h, 7d.')
      // `resolveConfig` names unknown flags, together with all else that is wrong.
      .strict(false)
  )
}

function clientOptions(argv: Argv): Argv<ClientArguments> {
  return argv
    .option('url', {
      type: 'string',
      requiresArg: true,
      default: environmentOf('MAILROOM_URL') ?? DEFAULT_URL,
      describe: 'where Mailroom listens',
    })
    .option('token', {
      type: 'string',
      requiresArg: true,
      describe: 'its token, if it has one [MAILROOM_TOKEN]',
    })
}

function deadCommands(argv: Argv): Argv {
  const withId = (sub: Argv) => clientOptions(sub).positional('id', { type: 'string', demandOption: true })
  return argv
    .command(
      'list',
      'list them, oldest first',
      (sub) =>
        clientOptions(sub).option('json', {
          type: 'boolean',
          default: false,
          describe: 'one JSON object a line',
        }),
      (args) => withClient(args, async (client) => (await import('./commands/dead.ts')).list(client, args)),
    )
    .command('show <id>', 'show one: text, reason, attempts, errors', withId, (args) =>
      withClient(args, async (client) => (await import('./commands/dead.ts')).show(client, args.id)),
    )
    .command(
      'replay [id]',
      'handle one, or all, again',
      (sub) =>
        clientOptions(sub)
          .positional('id', { type: 'string' })
          .option('all', { type: 'boolean', default: false, describe: 'all of them' })
          .check(({ id, all }) => (id !== undefined) !== all || 'Expected either an id or --all'),
      (args) =>
        withClient(args, async (client) => {
          const { replay, replayAll } = await import('./commands/dead.ts')
          await (args.id === undefined ? replayAll(client) : replay(client, args.id))
        }),
    )
    .command('purge <id>', 'forget one for good; it stays in the log', withId, (args) =>
      withClient(args, async (client) => (await import('./commands/dead.ts')).purge(client, args.id)),
    )
    .example('$0 dead list', '')
    .example('$0 dead replay --all', 'after the handler has been mended')
    .demandCommand(1, 'Expected one of list, show, replay, purge; see mailroom dead --help')
}

async function withClient(args: ClientArguments, work: (client: ApiClient) => Promise<void>): Promise<void> {
  if (!URL.canParse(args.url) || !/^https?:$/.test(new URL(args.url).protocol)) {
    const problem = `Expected \`--url\` to be a URL such as ${DEFAULT_URL}, got ${JSON.stringify(args.url)}`
    throw new MailroomError('MR_CONFIG_INVALID', { problems: [problem] })
  }
  const client = new ApiClient(args.url, args.token ?? environmentOf('MAILROOM_TOKEN'))
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => exit(code === 'EPIPE' ? EXIT_PIPE : 1))
  try {
    await work(client)
  } finally {
    await client.close()
  }
}

function sourceOf({ text, file, whole, 'skip-empty': skipEmpty }: SendArguments): Source {
  const path = text === '-' ? '-' : file
  const isOne = text === undefined || (text === '-' && file === undefined)
  if (text !== undefined && path === undefined && !whole && !skipEmpty) return { text }
  if (path !== undefined && isOne && !(whole && skipEmpty)) return { path, whole, skipEmpty }
  const expected = 'Expected a text, or - or --file with at most one of --whole and --skip-empty'
  throw new MailroomError('MR_CONFIG_INVALID', { problems: [expected] })
}

/** A text that was typed is answered with its id: there is only one. */
function receiptsOf({ text, json, ids }: SendArguments): Receipts {
  if (json) return 'json'
  return ids || (text !== undefined && text !== '-') ? 'ids' : 'none'
}

function secondsOf({ timeout }: { timeout: number }): number {
  if (timeout >= 0) return timeout
  throw new MailroomError('MR_CONFIG_INVALID', {
    problems: ['Expected `--timeout` to be a number of seconds'],
  })
}

function versionOf(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
