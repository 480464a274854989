/** The whole corpus, by topic. */
import type { Case } from '../case.ts'
import { BODIES } from './bodies.ts'
import { ENCODINGS } from './encodings.ts'
import { FRAMING } from './framing.ts'
import { HEADERS } from './headers.ts'
import { INBOX } from './inbox.ts'
import { STREAMS } from './lines.ts'
import { QUERIES } from './queries.ts'
import { SCALINGS } from './scalings.ts'
import { TARGETS } from './targets.ts'

/** Topic -> its cases. */
export const CORPUS: Readonly<Record<string, readonly Case[]>> = {
  bodies: BODIES,
  encodings: ENCODINGS,
  headers: HEADERS,
  framing: FRAMING,
  targets: TARGETS,
  queries: QUERIES,
  scalings: SCALINGS,
  inbox: INBOX,
  'streams of lines': STREAMS,
}
