/** What the parts of the embedded backend are given. */
import type { Clock, Random } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { LaneReport } from '../lane-choice.ts'
import type { StoreMeter } from '../ports.ts'

/** What one process needs of the backend. */
export interface EmbeddedOptions {
  /** Path of a data directory that `openDataDirectory` has made ready. */
  data: string
  /** As `DataDirectory.identity`; without it the directory is the one that has the path. */
  dataIdentity?: string | undefined
  laneCount: number
  clock: Clock
  random: Random
  logger: Logger
  retentionMs: number
  /** How long an idempotency key is known; null or absent: the default of this backend. */
  keyRetentionMs?: number | null
  /** For a messages actor: no start is due later than this, whatever the clock of the last holder said. */
  retryMaxMs?: number
  /** `--max-message`: so much more must be free on the disk. Default: 1 MiB. */
  maxMessageBytes?: number
  /** Number of the logging actor this process hosts; without it the log is only read here. */
  writer?: number
  /** Called when the log cannot be written any more by this process, which must end. */
  onBroken?: (error: unknown) => void
  meter?: StoreMeter
  /** For a facade: how busy the lanes' holders are. */
  depths?: LaneReport
  /** For a facade: tells a lane's holder that something waits there. */
  wakeRemote?: (lane: number) => void
}
