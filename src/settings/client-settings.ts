/** The settings of the commands that speak to a node. */
import { z } from 'zod'
import { apiUrl, duration, inputFile, messageId, optional, secret, yesNo } from './setting-values.ts'
import { type Setting, settingsOf } from './settings-reader.ts'

/** Reads the settings of the client commands. */
export const clientSchema = (cwd: string) =>
  z.object({
    url: apiUrl.prefault('http://127.0.0.1:8080').describe('URL of the node'),
    token: secret('TOKEN', 1).describe(
      'token of the node; better in MAILROOM_TOKEN, which other users of the machine cannot see',
    ),
    json: yesNo.describe('print JSON, for scripts'),
    watch: yesNo.describe('repeat every second, with rates, until q or Ctrl-C'),
    file: optional(inputFile(cwd)).describe(
      'send a file, one message a line, byte for byte; - for standard input',
    ),
    whole: yesNo.describe('send the whole input as one message'),
    skipEmpty: yesNo.describe('skip empty lines, which are no messages'),
    ids: yesNo.describe('print the id of each message'),
    timeoutMs: duration('0s', '1d')
      .prefault('60s')
      .describe('how long to retry while the node is unreachable or overloaded'),
    all: yesNo.describe('all dead letters'),
    yes: yesNo.describe('delete without asking'),
    since: optional(messageId).describe('only messages younger than this one'),
  })

/** The settings of a client command, validated and with defaults. `file` is absolute, or `-` for standard input. */
export type ClientConfig = z.output<ReturnType<typeof clientSchema>>

/** Every setting of the client commands, by flag. */
export const CLIENT_SETTINGS: Record<string, Setting> = settingsOf(clientSchema('.'))
