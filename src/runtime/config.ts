/** (being written by the CLI helper: keep this shape) */
import type { Role } from './directory.ts'

/** The settings, validated and with defaults. JSON-safe: it crosses IPC. */
export interface Config {
  counts: Record<Role, number>
  host: string
  port: number
  backend: 'embedded'
  /** Absolute path of the data directory. */
  data: string
  /** Absolute path of the handler's ES module; null: messages are only stored. */
  handler: string | null
  handlerTimeoutMs: number
  handlerConcurrency: number
  /** Null: whatever the data directory was begun with, 16 for a new one. After start: always a number. */
  lanes: number | null
  retentionMs: number
  token: string | null
  open: boolean
  mailboxCapacity: number
  logLevel: string
}
