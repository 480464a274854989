/** Hands each message on to a URL. Start: FORWARD_TO=http://… npx mailroom start --handler examples/forward.js */
const url = process.env.FORWARD_TO

export default async function forward({ id, text }, { signal }) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain', 'Idempotency-Key': id },
    body: text,
    signal, // Aborted at --handler-timeout.
  })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
}
