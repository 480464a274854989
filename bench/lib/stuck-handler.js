/** A handler that never finishes: what is posted stays waiting. */
export default () => new Promise(() => {})
