/** The command line: what a user types, and with which exit code it ends. The only door to yargs. */
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { CLIENT_COMMANDS, type ClientCommand, DEAD_COMMANDS } from './commands/client-commands.ts'
import { ApiClient, ApiError, Unreachable } from './http/api-client.ts'
import { isMailroomError, MailroomError } from './runtime/errors.ts'
import { exit } from './runtime/lifecycle.ts'
import { CLIENT_SETTINGS, type ClientFlag } from './settings/client-settings.ts'
import { resolveClientConfig, resolveConfig, SETTINGS } from './settings/config.ts'
import { didYouMean, type Settings, variableOf } from './settings/settings-reader.ts'

/** The exit code of a bad flag, variable or value (EX_CONFIG of sysexits). */
const EXIT_CONFIG = 78
/** The exit code of a program whose reader went away, as in `mailroom dead list | head`. */
const EXIT_PIPE = 141
const WIDEST = 110
const COMMAND_WORDS = new Set(['dead', ...[...CLIENT_COMMANDS, ...DEAD_COMMANDS].map(nameOf)])

type Arguments = Record<string, unknown> & { _: (string | number)[] }

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
  cli
    .scriptName('mailroom')
    .usage('$0 <command>\n\nTakes messages over HTTP and never loses one it has acknowledged.')
    // Whatever is wrong with what was typed is said in one place, all at once: yargs only takes it apart.
    .parserConfiguration({ 'camel-case-expansion': false, 'dot-notation': false, 'boolean-negation': false })
    .strict(false)
    .command('start', 'run a node until Ctrl-C', startOptions, async (args) => {
      const { flags, words } = takenApart(args, SETTINGS)
      const config = resolveConfig({ flags, surplus: words.slice(1) })
      const { start } = await import('./commands/start.ts')
      await start(config)
    })
  for (const command of CLIENT_COMMANDS) addClientCommand(cli, command, 1)
  const deadNames = DEAD_COMMANDS.map(nameOf)
  return cli
    .command('dead', 'dead letters: messages that could not be handled', (argv) => {
      for (const command of DEAD_COMMANDS) addClientCommand(argv, command, 2)
      return argv
        .command('$0', false, {}, ({ _ }) => noCommand(_.slice(1), 'mailroom dead', deadNames))
        .usage('$0 dead <command>\n\nDead letters: messages that could not be handled.')
        .example('$0 dead list', '')
        .example('$0 dead replay --all', 'after the handler has been mended')
    })
    .command('$0', false, {}, ({ _ }) =>
      noCommand(_, 'mailroom', ['start', ...CLIENT_COMMANDS.map(nameOf), 'dead']),
    )
    .example('$0 start --messages 4 --handler ./handler.js', '')
    .example('$0 send "hello"', '')
    .epilogue(`Every flag is also a variable: --handler-timeout is ${variableOf('handler-timeout')}.`)
    .version(versionOf())
    .detectLocale(false)
    .wrap(Math.min(WIDEST, process.stdout.columns ?? 80))
    .exitProcess(false)
    .fail((message: string | null, error) => {
      // Without a message it is a command that failed, not what was typed.
      if (message === null) throw error
      if (isMailroomError(error)) throw error
      // The words of the command alone: what belongs to a flag looks like one, too.
      const words = typed.filter((word) => COMMAND_WORDS.has(word)).join(' ')
      throw invalid(
        message.startsWith('Not enough non-option')
          ? `Expected more words after \`mailroom ${words}\`; see mailroom ${words} --help`
          : message,
      )
    })
}

function startOptions(argv: Argv): Argv {
  for (const [flag, { group }] of Object.entries(SETTINGS)) addOption(argv, flag, SETTINGS, `${group}:`)
  return argv
    .example('$0 start', 'on http://127.0.0.1:8080, data in ./data')
    .example('$0 start --messages 4', 'more actors')
    .example('$0 start --handler ./handler.js', 'calls a function of yours for each message')
    .example('$0 start --host 0.0.0.0 --token "$SECRET"', 'open to the network, with a token')
    .epilogue('Durations: 500ms, 30s, 5m, 12h, 7d.')
}

function addClientCommand(
  argv: Argv,
  { usage, summary, operands, flags: own, examples, run }: ClientCommand,
  wordCount: number,
): void {
  const flags: ClientFlag[] = [...own, 'url', 'token']
  const names = Object.keys(operands)
  const isMany = usage.includes('..')
  argv.command(
    usage,
    summary,
    (sub) => {
      for (const [name, describe] of Object.entries(operands)) {
        sub.positional(name, { describe, type: 'string' })
        // Without it yargs takes a lone - for a flag without a name.
        if (!isMany) sub.nargs(name, 1)
      }
      for (const flag of flags) addOption(sub, flag, CLIENT_SETTINGS)
      for (const [line, what] of examples) sub.example(`$0 ${line}`, what)
      return sub
    },
    async (args) => {
      const { flags: given, words } = takenApart(args, CLIENT_SETTINGS, names)
      // What follows a -- is no flag, and yargs leaves it where it is.
      const taken = names.flatMap((name) => (args[name] ?? []) as string | string[])
      const operandsGiven = [...taken, ...words.slice(wordCount)]
      const most = isMany ? Number.POSITIVE_INFINITY : names.length
      const surplus = operandsGiven.splice(most)
      const config = resolveClientConfig({ flags: given, surplus }, flags)
      await withClient(config, (client) => run(client, operandsGiven, config))
    },
  )
}

function addOption(argv: Argv, flag: string, settings: Settings, group?: string): void {
  const { help, shape, fallback } = settings[flag]!
  const isSwitch = shape === ''
  argv.option(flag, {
    describe: `${help}${isSwitch || fallback === null ? '' : ` [${fallback}]`}`,
    // Values are read as text by their setting.
    type: isSwitch ? 'boolean' : 'string',
    ...(group !== undefined && { group }),
  })
}

/** What yargs found: flags as they were written, and the words that are none. */
function takenApart(
  args: Arguments,
  settings: Settings,
  operands: readonly string[] = [],
): { flags: Record<string, unknown>; words: string[] } {
  const { _, $0, help, version, ...rest } = args
  const flags = Object.fromEntries(Object.entries(rest).filter(([name]) => !operands.includes(name)))
  const end = typed.indexOf('--')
  for (const word of typed.slice(0, end === -1 ? undefined : end)) {
    const [, flag, value] = /^--([a-z-]+)=(.*)$/s.exec(word) ?? []
    // Of a switch yargs makes true or false, whatever stands there.
    if (flag !== undefined && settings[flag]?.shape === '' && typeof flags[flag] === 'boolean') {
      flags[flag] = value
    }
  }
  return { flags, words: _.map(String) }
}

async function withClient(
  { url, token }: { url: string; token: string | null },
  work: (client: ApiClient) => Promise<void>,
): Promise<void> {
  const client = new ApiClient(url, token ?? undefined)
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => exit(code === 'EPIPE' ? EXIT_PIPE : 1))
  try {
    await work(client)
  } finally {
    await client.close()
  }
}

/** Tells that what was typed is no command. */
function noCommand(words: readonly (string | number)[], before: string, known: readonly string[]): never {
  const [word] = words.map(String)
  const expected = `Expected ${before} to be followed by one of ${known.join(', ')}`
  const got = word === undefined ? '' : `, got ${JSON.stringify(word)}${didYouMean('', word, known)}`
  throw invalid(`${expected}${got}`)
}

function nameOf({ usage }: ClientCommand): string {
  return usage.split(' ')[0]!
}

function invalid(problem: string): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', { problems: [problem] })
}

function versionOf(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
