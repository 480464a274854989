/** Tells a chat of every push to GitHub. Start: CHAT_URL=https://… npx mailroom start --handler examples/handler.js */
export default async function tellChat({ headers, text }, { signal }) {
  const event = headers?.['x-github-event'] ?? 'push'
  if (event !== 'push') return // It is delivered: nothing is to be done for it.
  const response = await fetch(process.env.CHAT_URL, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ text: sentenceOf(text) }),
    signal, // Aborted at --handler-timeout.
  }).catch((error) => {
    throw Object.assign(error, { outage: true }) // The chat is away: not the message's fault.
  })
  if (!response.ok) throw new Error(`The chat answered ${response.status}`)
}

function sentenceOf(text) {
  try {
    const { pusher, commits, repository } = JSON.parse(text)
    return `${pusher.name} pushed ${commits.length} commits to ${repository.full_name}`
  } catch (cause) {
    const error = new Error('Expected a push to GitHub', { cause })
    throw Object.assign(error, { retry: false }) // It will never be one: a dead letter at once.
  }
}
