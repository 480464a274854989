/** Paths, targets and methods. */
import { ROUTES } from '../../../src/http/routes/table.ts'
import { bytes, type Case, get, head, post, refused, TEXT, taken } from '../case.ts'

const ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV'

const UNKNOWN: readonly string[] = [
  '//',
  '//livez',
  '//evil.example/livez',
  '/livez/',
  '/LIVEZ',
  '/livez.',
  '/livez%20',
  '/livez%00',
  '/livez;a=b',
  '/.',
  '/..',
  '/../livez',
  '/./livez',
  '/messages/../livez',
  '/../../../../etc/passwd',
  '/..%2f..%2f..%2fetc%2fpasswd',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/%252e%252e/etc/passwd',
  '/..;/livez',
  '/....//....//etc/passwd',
  '/..\\..\\windows\\win.ini',
  '/%5c..%5c..%5cwindows',
  '/c:/windows/win.ini',
  '/file:///etc/passwd',
  '/.git/config',
  '/.env',
  '/package.json',
  '/src/cli.ts',
  '/node_modules/koa/package.json',
  '/data/log-1.1.db',
  '/admin',
  '/__proto__',
  '/constructor',
  '/ask/append',
  '/messages/a/b',
  '/actors/facade/restart/again',
  '/log/',
  '*',
]

const BAD_IDS: readonly string[] = [
  'a',
  ID.slice(1),
  `${ID}0`,
  ID.toLowerCase(),
  ID.replace('0', 'O'),
  `8${ID.slice(1)}`,
  '..',
  '%2e%2e',
  '%2e%2e%2f',
  '%00',
  `${ID}%00`,
  '%0d%0aX-Injected:%201',
  '%ff',
  '%zz',
  '%',
  '%u0041',
  '__proto__',
  'constructor',
  "'%20OR%201=1--",
  '%F0%9F%98%80',
  'x'.repeat(10_000),
]

const BAD_NAMES: readonly string[] = [
  'messages-0',
  'messages-99',
  'messages-1%00',
  'messages-1%0d%0a',
  'MESSAGES-1',
  'logging-1',
  '__proto__',
  'toString',
  '..%2f..',
  'x'.repeat(10_000),
]

const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'LOCK',
] as const
const routes = Object.values(ROUTES)
const paths = [...new Set<string>(routes.map(({ path }) => path))]
const concrete = (path: string) =>
  path.replace('{role}', 'logging').replace('{name}', 'messages-1').replace('{id}', ID)

/** Every path with every method it does not have. */
const WRONG_METHODS: readonly Case[] = paths.flatMap((path) => {
  // `/dead/replay` is also a `/dead/{id}`.
  const matches = (pattern: string) => new RegExp(`^${pattern.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path)
  const known = new Set<string>(routes.filter((route) => matches(route.path)).map(({ method }) => method))
  if (known.has('GET')) known.add('HEAD')
  // The answer to HEAD has no body to look into.
  return METHODS.filter((method) => !known.has(method) && method !== 'HEAD').map((method) =>
    refused(
      `${method} of ${path}`,
      405,
      'MR_METHOD_UNSUPPORTED',
      head(`${method} ${concrete(path)} HTTP/1.1`),
    ),
  )
})

/** The cases. */
export const TARGETS: readonly Case[] = [
  ...UNKNOWN.map((target) => refused(`the target ${target}`, 404, 'MR_NOT_FOUND', get(target))),
  ...BAD_IDS.flatMap((id) => {
    const shown = id.length > 40 ? `of ${id.length} characters` : id
    return [
      refused(`the message id ${shown}`, 400, 'MR_REQUEST_INVALID', get(`/messages/${id}`)),
      refused(`the dead letter ${shown}`, 400, 'MR_REQUEST_INVALID', head(`DELETE /dead/${id} HTTP/1.1`)),
    ]
  }),
  ...BAD_NAMES.flatMap((name) => {
    const shown = name.length > 40 ? `of ${name.length} characters` : name
    return [
      refused(`the actor ${shown}`, 404, 'MR_NOT_FOUND', get(`/actors/${name}/messages`)),
      refused(
        `a restart of the role ${shown}`,
        404,
        'MR_NOT_FOUND',
        head(`POST /actors/${name}/restart HTTP/1.1`),
      ),
    ]
  }),
  ...WRONG_METHODS,
  refused('a message that is not there', 404, 'MR_NOT_FOUND', get(`/messages/${ID}`)),
  refused('a target of 20,000 bytes', 431, 'MR_HEAD_TOO_LARGE', get(`/${'a'.repeat(20_000)}`)),
  refused('a target with a space', 400, 'MR_REQUEST_INVALID', get('/live z')),
  refused('a target with a NUL', 400, 'MR_REQUEST_INVALID', get('/livez\0')),
  refused('a target with a raw é', 400, 'MR_REQUEST_INVALID', get('/livézé')),
  refused('a target with a bare CR', 400, 'MR_REQUEST_INVALID', get('/livez\rX: b')),
  refused('a target without a slash', 400, 'MR_REQUEST_INVALID', get('livez')),
  refused(
    'a target that is another site',
    403,
    'MR_HOST_FORBIDDEN',
    get('http://evil.example/log', [['Host', 'evil.example']]),
  ),
  refused(
    'a post to another site through us',
    403,
    'MR_HOST_FORBIDDEN',
    bytes(
      head('POST http://evil.example/messages HTTP/1.1', [
        ['Host', 'localhost'],
        ['Content-Type', TEXT],
        ['Content-Length', '1'],
      ]),
      'a',
    ),
  ),
  taken('a target with a query that is empty', 200, get('/livez?')),
  taken(
    'a post to a target with an empty query',
    201,
    bytes(post(TEXT, 'empty query').toString().replace('/messages', '/messages?')),
    ['empty query'],
  ),
]
