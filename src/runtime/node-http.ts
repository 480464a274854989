/**
 * What is used of `node:http`. An `import` of it reads all its exports, one of which loads the `fetch` and WebSocket of Node:
 * 30 ms of CPU and 14 MiB in each process, which nothing here uses. `require` does not.
 */
import { createRequire } from 'node:module'

const http = createRequire(import.meta.url)('node:http') as typeof import('node:http')

export const { Agent, createServer, request, STATUS_CODES } = http
