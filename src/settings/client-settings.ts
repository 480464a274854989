/** The settings of the commands that speak to a node, as `SETTINGS` of config.ts are those of the node. */

import { apiUrl, duration, inputFile, MINUTE_MS, messageId, text, yesNo } from './setting-values.ts'
import type { Setting } from './settings-reader.ts'

/** Where Mailroom listens when nothing else is said. */
const DEFAULT_URL = 'http://127.0.0.1:8080'

const option = <T>(setting: Pick<Setting<T>, 'fallback' | 'shape' | 'help' | 'parse'>): Setting<T> => ({
  group: 'Options',
  ...setting,
})
const choice = (help: string) => option({ fallback: 'false', shape: '', help, parse: yesNo })

/** Every setting of the client commands, by flag. */
export const CLIENT_SETTINGS = {
  url: option({
    fallback: DEFAULT_URL,
    shape: 'URL',
    help: 'where Mailroom listens',
    parse: apiUrl,
  }),
  token: option({
    fallback: null,
    shape: 'TOKEN',
    help: 'its token, if it has one; better in MAILROOM_TOKEN, where other users of the machine cannot see it',
    parse: text(/^[\x21-\x7e]{1,512}$/, '1 to 512 visible ASCII characters'),
  }),
  json: choice('as JSON, for scripts'),
  watch: choice('again every second, with rates, until q or Ctrl-C'),
  file: option({
    fallback: null,
    shape: 'FILE',
    help: 'a file, one message a line, byte for byte; - for standard input',
    parse: inputFile,
  }),
  whole: choice('the whole input is one message'),
  'skip-empty': choice('pass over empty lines, which are no messages'),
  ids: choice('print the id of each message'),
  timeout: option({
    fallback: '60s',
    shape: 'DURATION',
    help: 'how long to go on trying while Mailroom is away or overloaded',
    parse: duration(0, 24 * 60 * MINUTE_MS),
  }),
  all: choice('all of them'),
  since: option({
    fallback: null,
    shape: 'ID',
    help: 'only messages younger than this one',
    parse: messageId,
  }),
} satisfies Record<string, Setting<unknown>>

/** A flag of a client command. */
export type ClientFlag = keyof typeof CLIENT_SETTINGS

/** The settings of a client command, validated and with defaults. */
export interface ClientConfig {
  url: string
  token: string | null
  json: boolean
  watch: boolean
  /** Absolute; `-` is standard input. */
  file: string | null
  whole: boolean
  skipEmpty: boolean
  ids: boolean
  timeoutMs: number
  all: boolean
  /** An id. */
  since: string | null
}
