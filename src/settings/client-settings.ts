/** The settings of the commands that speak to a node. */
import { z } from 'zod'
import { apiUrl, duration, inputFile, messageId, optional, text, yesNo } from './setting-values.ts'
import { type Setting, settingsOf } from './settings-reader.ts'

const TOKEN = text(/^[\x21-\x7e]{1,512}$/, '1 to 512 visible ASCII characters', 'TOKEN')
const TOKEN_HELP = 'token of the node; better in MAILROOM_TOKEN, which other users of the machine cannot see'

/** Reads the settings of the client commands. */
export const clientSchema = (cwd: string) =>
  z.object({
    url: apiUrl.prefault('http://127.0.0.1:8080').meta({ help: 'URL of the node' }),
    token: optional(TOKEN).meta({ help: TOKEN_HELP, isSecret: true }),
    json: yesNo.prefault('false').meta({ help: 'print JSON, for scripts' }),
    watch: yesNo.prefault('false').meta({ help: 'repeat every second, with rates, until q or Ctrl-C' }),
    file: optional(inputFile(cwd)).meta({
      help: 'send a file, one message a line, byte for byte; - for standard input',
    }),
    whole: yesNo.prefault('false').meta({ help: 'send the whole input as one message' }),
    skipEmpty: yesNo.prefault('false').meta({ help: 'skip empty lines, which are no messages' }),
    ids: yesNo.prefault('false').meta({ help: 'print the id of each message' }),
    timeoutMs: duration('0s', '1d').prefault('60s').meta({
      help: 'how long to retry while the node is unreachable or overloaded',
    }),
    all: yesNo.prefault('false').meta({ help: 'replay all dead letters' }),
    since: optional(messageId).meta({ help: 'only messages younger than this one' }),
  })

/** The settings of a client command, validated and with defaults. `file` is absolute, or `-` for standard input. */
export type ClientConfig = z.output<ReturnType<typeof clientSchema>>

/** Every setting of the client commands, by flag. */
export const CLIENT_SETTINGS: Record<string, Setting> = settingsOf(clientSchema('.'))
