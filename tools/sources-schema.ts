/** Writes config/sources.schema.json, which editors check a sources file with: `npm run schema`. */
import { writeFileSync } from 'node:fs'
import { sourcesJsonSchema } from '../src/inbox/sources-schema.ts'

writeFileSync('config/sources.schema.json', `${JSON.stringify(sourcesJsonSchema(), null, 2)}\n`)
