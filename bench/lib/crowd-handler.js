/** A handler that never ends for some messages, and makes dead letters of others at once. */
export default function handle({ text }) {
  if (text.startsWith('stuck')) return new Promise(() => {})
  if (text.startsWith('dead')) throw Object.assign(new Error('a dead letter'), { retry: false })
}
