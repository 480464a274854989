/** The command line: commands, flags, help, exit codes. The only module that imports yargs. */
import { inspect } from 'node:util'
import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { CLIENT_COMMANDS, type ClientCommand, DEAD_COMMANDS } from './commands/client-commands.ts'
import { print, printable, report, writeJson } from './commands/terminal.ts'
import { ApiClient, ApiError, Unreachable } from './http/api-client.ts'
import { isMailroomError } from './runtime/errors.ts'
import { exit } from './runtime/lifecycle.ts'
import { outputOf } from './runtime/output.ts'
import { CLIENT_SETTINGS, resolveClientConfig, resolveConfig, SETTINGS } from './settings/config.ts'
import {
  didYouMean,
  environment,
  invalidConfig,
  type Setting,
  serviceVariables,
  variableOf,
} from './settings/settings-reader.ts'

/** The exit code of a bad flag, variable or value (EX_CONFIG of sysexits). */
const EXIT_CONFIG = 78
/** The exit code when the reader of standard output has closed it, as in `mailroom dead list | head`. */
const EXIT_PIPE = 141
const WIDEST = 110

type Arguments = Record<string, unknown> & { _: (string | number)[] }

// A closed or full standard error loses messages for people; the exit code still tells the result.
process.stderr.on('error', () => {})
const typed = hideBin(process.argv)
/** yargs lays out the help of a command that runs, too: for the flags of `start` this takes 30 ms, unless they are hidden. */
const isForHelp = typed.some((word) => ['--help', 'help', '--get-yargs-completions'].includes(word))
const firstFlag = typed.findIndex((word) => word.startsWith('-'))
const typedWords = ['mailroom', ...typed.slice(0, firstFlag === -1 ? undefined : firstFlag)].join(' ')
const tooFewWords = `Expected more words after \`${typedWords}\` (%s given, %s needed); see ${typedWords} --help`
/** Replaces sentences of yargs, the first one in singular and plural. */
const STRINGS = {
  'Not enough non-option arguments: got %s, need at least %s': { one: tooFewWords, other: tooFewWords },
  'Not enough arguments following: %s': 'Expected `--%s` to be followed by its value',
}
const isJson = wantsJson()
writeJson(isJson)
try {
  await commands(yargs(typed.length === 0 ? ['--help'] : typed)).parseAsync()
} catch (error) {
  tell(error)
  process.exitCode = isMailroomError(error, 'MR_CONFIG_INVALID') ? EXIT_CONFIG : 1
}

/** True when a program reads what is written. Asked for before the command line is checked: its errors are JSON, too. */
function wantsJson(): boolean {
  const end = typed.indexOf('--')
  const words = typed.slice(0, end === -1 ? undefined : end)
  const [, value] = words.findLast((word) => /^--json(=|$)/.test(word))?.split('=') ?? [
    '',
    environment()[variableOf('json')] ?? 'false',
  ]
  return value === undefined || value === 'true' || value === '1'
}

/** Writes an error to standard error: its sentence, or with `--json` one object `{code, status?, outcome?, detail}`. */
function tell(error: unknown): void {
  const detail = isForPeople(error) ? error.message : inspect(error)
  const line = isJson ? printable({ ...aboutOf(error), detail }) : `mailroom: ${detail}`
  outputOf(2).write(`${line}\n`)
}

/** What a program may go by. `code`: of the API, of the system, `UNREACHABLE`; null for an answer that is not Mailroom's. */
function aboutOf(error: unknown): { code: string | null; status?: number; outcome?: string } {
  if (error instanceof ApiError) {
    const { code = null, status, isOutcomeNone } = error
    return { code, status, outcome: isOutcomeNone ? 'none' : 'unknown' }
  }
  if (error instanceof Unreachable) return { code: 'UNREACHABLE', outcome: 'unknown' }
  if (isMailroomError(error)) return { code: error.code, outcome: error.outcome }
  return { code: isForPeople(error) ? String((error as NodeJS.ErrnoException).code) : 'MR_INTERNAL' }
}

/** True for an error whose message is enough. Any other error is a bug and is printed with its stack. */
function isForPeople(error: unknown): error is Error {
  const isOfSystem = error instanceof Error && 'syscall' in error
  return isMailroomError(error) || error instanceof ApiError || error instanceof Unreachable || isOfSystem
}

function commands(cli: Argv): Argv {
  cli
    .scriptName('mailroom')
    .usage('$0 <command>\n\nTakes messages over HTTP and never loses one it has acknowledged.')
    // yargs only splits the command line. `readSettings` checks it and reports all problems at once.
    .parserConfiguration({
      ...{ 'camel-case-expansion': false, 'dot-notation': false, 'boolean-negation': false },
      ...{ 'parse-numbers': false, 'parse-positional-numbers': false },
    })
    .strict(false)
    .command('start', 'run a node until Ctrl-C', startOptions, async (args) => {
      const { flags, words } = parsed(args)
      const config = resolveConfig({ flags, surplus: words.slice(1) })
      await (await import('./commands/start.ts')).start(config)
    })
  for (const command of CLIENT_COMMANDS) addClientCommand(cli, command, 1)
  const deadNames = DEAD_COMMANDS.map(nameOf)
  return cli
    .command('dead', 'dead letters: messages whose handler kept failing', (argv) => {
      for (const command of DEAD_COMMANDS) addClientCommand(argv, command, 2)
      return argv
        .command('$0', false, {}, ({ _ }) => noCommand(_.slice(1), 'mailroom dead', deadNames))
        .usage('$0 dead <command>\n\nDead letters: messages whose handler kept failing.')
        .example('$0 dead list', '')
        .example('$0 dead replay --all', 'after the handler has been fixed')
    })
    .command('$0', false, {}, ({ _ }) =>
      noCommand(_, 'mailroom', ['start', ...CLIENT_COMMANDS.map(nameOf), 'dead', 'completion']),
    )
    .example('$0 start --forward http://127.0.0.1:3000/', '')
    .example('$0 start --messages 4 --handler ./handler.js', '')
    .example('$0 send "hello"', '')
    .epilogue(`Every flag is also a variable: --handler-timeout is ${variableOf('handler-timeout')}.`)
    .command(
      'completion',
      'print a completion script for bash or zsh',
      (argv) => addOption(argv, 'json', CLIENT_SETTINGS['json']!),
      (args) => {
        const surplus = args._.slice(1).map(String)
        const { json } = resolveClientConfig({ flags: parsed(args).flags, surplus }, ['json'])
        const script = completionOf(cli)
        print(json ? printable({ script }) : script)
      },
    )
    .detectLocale(false)
    .wrap(Math.min(WIDEST, process.stdout.columns ?? 80))
    .exitProcess(false)
    .updateStrings(STRINGS as never)
    .fail((message: string | null, error) => {
      // Without a message the command itself failed, and the command line was right.
      throw message === null || isMailroomError(error) ? error : invalidConfig(message)
    })
}

function startOptions(argv: Argv): Argv {
  for (const [flag, setting] of Object.entries(SETTINGS)) addOption(argv, flag, setting)
  return argv
    .example('$0 start', 'on http://127.0.0.1:8080, data in ./data')
    .example('$0 start --messages 4', 'more actors')
    .example('$0 start --forward http://127.0.0.1:3000/', 'post each message on to a URL')
    .example('$0 start --handler ./handler.js', 'call a function of yours for each message')
    .example('$0 start --host 0.0.0.0 --token "$SECRET"', 'listen on the network, with a token')
    .epilogue('Durations: 500ms, 30s, 5m, 12h, 7d.')
}

function addClientCommand(
  argv: Argv,
  { usage, summary, operands = {}, flags: own = [], examples, run }: ClientCommand,
  wordCount: number,
): void {
  const flags = [...own, 'json', 'url', 'token', 'timeout']
  const names = Object.keys(operands)
  const isMany = usage.includes('..')
  argv.command(
    usage,
    summary,
    (sub) => {
      for (const [name, describe] of Object.entries(operands)) {
        sub.positional(name, { describe })
        if (!isMany) sub.nargs(name, 1)
      }
      for (const flag of flags) addOption(sub, flag, CLIENT_SETTINGS[flag]!)
      for (const [line, what] of examples) sub.example(`$0 ${line}`, what)
      return sub
    },
    async (args) => {
      const { flags: given, words } = parsed(args, names)
      // yargs leaves the words after -- in `_` and does not make operands of them.
      const taken = names.flatMap((name) => (args[name] ?? []) as string | string[])
      const operandsGiven = [...taken, ...words.slice(wordCount)]
      const surplus = isMany ? [] : operandsGiven.splice(names.length)
      const config = resolveClientConfig({ flags: given, surplus }, flags)
      const ignored = serviceVariables()
      if (ignored.length > 0) report(`mailroom: Ignored Kubernetes service variables: ${ignored.join(', ')}`)
      process.stdout.on('error', endWithOutput)
      await using client = new ApiClient(config.url, {
        token: config.token ?? undefined,
        retryMs: config.timeoutMs,
        onFirstRetry: ({ message }) =>
          report(`${message}\nTrying again for up to ${config.timeoutMs / 1000} s`),
      })
      await run(client, operandsGiven, config)
    },
  )
}

/** The completion script, which yargs can only print. */
function completionOf(cli: Argv): string {
  const { log } = console
  let script = ''
  console.log = (text: string) => {
    script = text
  }
  try {
    cli.showCompletionScript()
  } finally {
    console.log = log
  }
  return script
}

function addOption(argv: Argv, flag: string, { help, shape, fallback, group }: Setting): void {
  const isSwitch = shape === undefined
  argv.option(flag, {
    hidden: !isForHelp,
    describe: isSwitch || fallback === undefined ? help : `${help} [${fallback}]`,
    // Without `nargs`, yargs reads a lone - as a flag without a name.
    ...(isSwitch ? { type: 'boolean' } : { nargs: 1 }),
    ...(group !== undefined && { group: `${group}:` }),
  })
}

/** Splits what yargs parsed into flags, as they were typed, and words. */
function parsed(args: Arguments, operands: readonly string[] = []) {
  const { _, $0, help, version, ...rest } = args
  const given = Object.entries(rest).filter(([name]) => !operands.includes(name))
  const flags: Record<string, unknown> = Object.fromEntries(given)
  const end = typed.indexOf('--')
  for (const word of typed.slice(0, end === -1 ? undefined : end)) {
    const [, flag, value] = /^--([a-z-]+)=(.*)$/s.exec(word) ?? []
    // yargs turns the value of a switch into true or false, whatever it is.
    if (flag !== undefined && typeof flags[flag] === 'boolean') flags[flag] = value
  }
  return { flags, words: _.map(String) }
}

/** Ends the process when its standard output cannot be written. */
function endWithOutput({ code, message }: NodeJS.ErrnoException): never {
  if (code === 'EPIPE') exit(EXIT_PIPE)
  tell(Object.assign(new Error(`Standard output cannot be written: ${message}`), { code, syscall: 'write' }))
  exit(1)
}

function noCommand(words: readonly (string | number)[], before: string, known: readonly string[]): never {
  const [word] = words.map(String)
  const expected = `Expected ${before} to be followed by one of ${known.join(', ')}`
  const got = word === undefined ? '' : `, got ${JSON.stringify(word)}${didYouMean('', word, known)}`
  throw invalidConfig(`${expected}${got}`)
}

function nameOf({ usage }: ClientCommand): string {
  return usage.split(' ')[0]!
}
