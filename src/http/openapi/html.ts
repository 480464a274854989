/** HTML that is made of templates: whatever stands in one is escaped, unless it is HTML that was made so. */

/** HTML. Only `html` makes it. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What may stand in a template. */
type Part = Html | string | number | readonly Part[]

/** Makes HTML of a template. Texts in it become texts, also within quotes. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.reduce((text, string, index) => text + textOf(parts[index - 1]!) + string))
}

/** Text with `code` in Markdown as HTML; of a link only its words. */
export function inline(markdown: string): Html {
  const words = markdown.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
  return html`${words.split('`').map((part, index) => (index % 2 === 0 ? part : html`<code>${part}</code>`))}`
}

function textOf(part: Part): string {
  if (part instanceof Html) return part.text
  if (Array.isArray(part)) return part.map(textOf).join('')
  return String(part).replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
