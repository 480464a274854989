/** Texts of messages as people read them: laid out, and with what would not be seen made visible. */
import { h } from './dom.js'

/** What is not seen, or turns what is seen around: control characters, invisible ones, those of directions. */
const HIDDEN =
  /(?![\n\t]|\u200d\p{Extended_Pictographic})[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu

/** A text with what is hidden shown as its number. @param {string} text @returns {(Node | string)[]} */
export function visible(text) {
  const parts = []
  let from = 0
  for (const { 0: character, index } of text.matchAll(HIDDEN)) {
    const number = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
    parts.push(text.slice(from, index), h('span', { class: 'hidden-character' }, `U+${number}`))
    from = index + character.length
  }
  return [...parts, text.slice(from)]
}

/** As `visible`, as plain text. @param {string} text */
export function shownText(text) {
  return visible(text)
    .map((part) => (typeof part === 'string' ? part : part.textContent))
    .join('')
}

/**
 * JSON laid out in lines. It moves spaces only: numbers, escapes and the order of keys stay as they came, which
 * `JSON.parse` would not keep.
 *
 * @param {string} text
 * @returns {string | undefined} Undefined when it is no object and no array of JSON.
 */
export function laidOut(text) {
  if (!/^\s*[[{]/.test(text)) return undefined
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  let depth = 0
  let out = ''
  const line = () => `\n${'  '.repeat(depth)}`
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|[^\s"[\]{},:]+/g)) {
    if (token.length > 1 && /^[[{]/.test(token)) out += token.replace(/\s/g, '')
    else if (token === '{' || token === '[') {
      depth++
      out += token + line()
    } else if (token === '}' || token === ']') {
      depth--
      out += line() + token
    } else if (token === ',') out += token + line()
    else out += token === ':' ? ': ' : token
  }
  return out
}

/** The first line of a text, for a row of a list. @param {string} text */
export function firstLine(text) {
  const line = text.trimStart().replaceAll(/\s+/g, ' ')
  return line.length > 200 ? `${line.slice(0, 200)}…` : line
}

/** The id in what a person pastes: an id, a link, a log line, an answer. @param {string} pasted */
export function idIn(pasted) {
  return /(?<![0-9A-Z])[0-7][0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Z])/i.exec(pasted)?.[0].toUpperCase()
}

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The first id of a time. @param {number} ms Since 1970. */
export function idAt(ms) {
  let time = ''
  for (let rest = Math.max(0, ms), at = 0; at < 10; at++, rest = Math.floor(rest / 32))
    time = DIGITS[rest % 32] + time
  return `${time}0000000000000000`
}
