/** When each error is met and what is to be done then, for readers. docs/errors.md says the same; a test compares them. */
import type { ErrorCode } from '../../runtime/errors.ts'

/** In Markdown, a sentence or a few. */
export const ERROR_HELP: Record<ErrorCode, { when: string; todo: string }> = {
  MR_MESSAGE_INVALID: {
    when: 'A text is missing, empty or not a string, a field is unknown or given twice, the body is not JSON or not UTF-8. The whole batch is refused.',
    todo: '`errors` names up to five places, such as `[3].text`; `moreErrors` counts the rest',
  },
  MR_REQUEST_INVALID: {
    when: 'Anything else about the request is wrong: a query parameter, an id, a header, a body where none is taken.',
    todo: '`errors` names it',
  },
  MR_TOKEN_INVALID: {
    when: 'The token is missing or wrong, or the cookie of a session is over.',
    todo: 'Send `Authorization: Bearer <token>`, or sign in again',
  },
  MR_ROLE_FORBIDDEN: {
    when: 'The token, or the session, has a role that may not do this; `detail` names the role that is needed and the one there is.',
    todo: 'Use a token of the role that is needed ([roles](operations.md#who-may-do-what))',
  },
  MR_FORBIDDEN: {
    when: 'By cookie, or where no token is set: the call came from a page of another origin, as `Sec-Fetch-Site` or `Origin` shows, or a change lacks `X-Mailroom: 1`.',
    todo: 'Call from a page of the same origin with this header, or send a token as `Authorization`',
  },
  MR_HOST_FORBIDDEN: {
    when: '`Host` is not an address, not localhost, not the name of this machine, and not in `--allowed-hosts`.',
    todo: 'Call by address, or add the name to `--allowed-hosts`',
  },
  MR_NOT_FOUND: {
    when: 'There is no such path, message, actor, role or dead letter. A message older than the retention is not found either.',
    todo: 'Check the path and the id',
  },
  MR_METHOD_UNSUPPORTED: {
    when: 'The path exists, but not with this method.',
    todo: '`Allow` names the methods',
  },
  MR_TOO_LARGE: {
    when: 'A text over `--max-message`; a JSON body or an NDJSON line over twice that.',
    todo: 'Split it; NDJSON takes any number of lines',
  },
  MR_HEAD_TOO_LARGE: {
    when: 'The head of a request (its target and headers) is over 16 KiB.',
    todo: 'Send fewer or shorter headers',
  },
  MR_TYPE_UNSUPPORTED: {
    when: '`Content-Type` is missing or not one the call takes, its charset is not UTF-8, or there is a `Content-Encoding`.',
    todo: 'Send the type that `detail` names',
  },
  MR_KEY_REUSED: {
    when: 'The same `Idempotency-Key` came with another body while the key was known (`--key-retention`).',
    todo: 'Use a new key for each new request',
  },
  MR_SCALE_REFUSED: {
    when: 'More messages actors were asked for than there are lanes.',
    todo: 'Ask for fewer; the number of lanes belongs to the data',
  },
  MR_REPEAT_BUSY: {
    when: 'A repeat at a source came while the first was still being stored, and waited for 2 s.',
    todo: 'Send it again',
  },
  MR_SIGNATURE_INVALID: {
    when: 'A request to `/in/{source}` does not show that it comes from its source; the log of the node says why.',
    todo: 'Compare the secrets; see [the inbox](inbox.md)',
  },
  MR_REDELIVERY_REFUSED: {
    when: 'The message is not delivered, or cannot be delivered again now: delivery is paused, its target is away, nothing runs messages.',
    todo: 'Wait for what is named, or resume',
  },
  MR_REDELIVERY_FAILED: {
    when: 'The handler, or the receiver, failed when the message was delivered again.',
    todo: 'Mend what is named, and repeat it',
  },
  MR_ROLE_ELSEWHERE: {
    when: 'This node does not run actors of the role that is to be scaled or restarted.',
    todo: '`detail` names the other way',
  },
  MR_CURSOR_EXPIRED: {
    when: 'Only in `gap` of a page of `GET /log`: `after` is older than the retention, so messages after it may have been removed before you read them.',
    todo: 'Go on with the page, or start anew; keep up within `--retention`',
  },
  MR_KEY_BUSY: {
    when: 'The first request with this `Idempotency-Key` is still running.',
    todo: 'Repeat after `Retry-After`, with the same key',
  },
  MR_OVERLOADED: {
    when: 'Posts arrive faster than they are answered, or there are too many readers, long polls, NDJSON streams or unread bodies at once.',
    todo: 'Repeat after `Retry-After`, with fewer at once',
  },
  MR_SIGN_INS_LIMITED: {
    when: 'A facade has taken ten sign-ins (`POST /session`) within a minute, right or wrong ones.',
    todo: 'Wait for `Retry-After`; a token as `Authorization` needs no sign-in',
  },
  MR_READERS_FULL: {
    when: 'The facade has 1,000 readers of `GET /events`. Those of `stats` alone are counted apart.',
    todo: 'Repeat after `Retry-After`',
  },
  MR_MAILBOX_FULL: {
    when: "An actor's mailbox is full (messages or bytes).",
    todo: 'Repeat after `Retry-After`',
  },
  MR_DRAINING: {
    when: 'The node, or the actor that was asked, is about to stop.',
    todo: 'Repeat after `Retry-After`, on a new connection',
  },
  MR_STORE_UNAVAILABLE: {
    when: 'The disk is full, read-only or over a quota, files of the data are gone, a write failed, a Hazelcast cluster is unreachable or at its limit, or the actor that should answer is not running or lacks a lane.',
    todo: 'Repeat with the same key; look at `/readyz`',
  },
  MR_PEER_LOST: {
    when: 'The connection to another actor broke, or an actor died during the call, or a new actor keeps crashing.',
    todo: 'Repeat with the same key',
  },
  MR_LANE_ELSEWHERE: {
    when: 'A lane is on its way from one messages actor to another.',
    todo: 'Repeat after `Retry-After`',
  },
  MR_DEADLINE_EXPIRED: {
    when: 'A message was not stored within 3 s, or a read took too long.',
    todo: 'Repeat with the same key',
  },
  MR_REQUEST_TIMEOUT: {
    when: 'The head took longer than 10 s, the body 10 s and 1 s for each MiB. Or an idle connection was closed (`--keep-alive`, or the node stops) while the request was on its way. In the last line of a stream: nothing arrived for `--keep-alive`.',
    todo: 'Send the request again, on a new connection',
  },
  MR_ANSWER_UNREAD: {
    when: 'Only in the last line of an NDJSON answer: the client read none of its answers for 10 s. Lines from this one on are not stored.',
    todo: 'Send the rest again. Read while you send, or post with `?acks=errors`',
  },
  MR_CLOCK_WRONG: {
    when: 'The wall clock has not been set since the machine started: it says a time when this release cannot run.',
    todo: 'Set the clock (NTP); repeat',
  },
  MR_CONFIG_INVALID: {
    when: 'A flag, variable or argument is unknown or invalid, the port is taken, the handler does not load, the file of sources is wrong. Every mistake is named.',
    todo: 'Correct what is named ([settings](config.md))',
  },
  MR_DATA_LOCKED: {
    when: 'Another Mailroom uses the data directory.',
    todo: '`detail` names its URL and process: stop it, or give this one another `--data`',
  },
  MR_DATA_VERSION: {
    when: 'The data directory, or one of its files, was written in another format. It is not changed.',
    todo: 'Run the version that wrote it',
  },
  MR_INTERNAL: {
    when: 'A bug in Mailroom. Its message is in the log lines only, with the request id.',
    todo: 'Report it, with these log lines',
  },
}
