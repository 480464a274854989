/** `/docs`: the document as one page for people, without scripts. */
import { ERRORS, type ErrorCode } from '../../runtime/errors.ts'
import { PROBLEMS } from '../problems.ts'
import { curlOf } from './curl.ts'
import {
  type OpenApi,
  type OperationObject,
  operationsByPart,
  type ParameterObject,
  type ResponseObject,
} from './document.ts'
import { ERROR_HELP } from './error-help.ts'
import { type Html, html, inline } from './html.ts'
import type { JsonSchema } from './operations.ts'
import { fieldsOf, typeOf } from './words.ts'

/**
 * The page.
 *
 * @param options.url Where the lines for a shell call: scheme and host.
 * @param options.stylesheet Its address, relative to the page.
 */
export function pageOf(document: OpenApi, { url, stylesheet }: { url: string; stylesheet: string }): string {
  const parts = operationsByPart(document)
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Mailroom: the API</title>
<link rel="stylesheet" href="${stylesheet}">
</head>
<body>
<a class="skip" href="#calls">Skip to the calls</a>
<header>
<h1>Mailroom: the API</h1>
<p>${inline(String(document.info['description']))}</p>
<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI ${document.openapi}). The lines for a shell take the token from <code>$MAILROOM_TOKEN</code>.</p>
</header>
<nav aria-label="Contents">
<ul>
${parts.map(
  ([part, operations]) => html`<li><a href="#${anchorOf(part)}">${part}</a>
<ul>
${operations.map(
  ([method, path, { operationId }]) =>
    html`<li><a href="#${operationId}"><code>${method} ${path}</code></a></li>
`,
)}</ul></li>
`,
)}<li><a href="#errors">Errors</a></li>
<li><a href="#shapes">Shapes</a></li>
</ul>
</nav>
<main id="calls" tabindex="-1">
${parts.map(
  ([part, operations]) => html`<section aria-labelledby="${anchorOf(part)}">
<h2 id="${anchorOf(part)}">${part}</h2>
${operations.map(([method, path, operation]) => operationHtml({ method, path, url }, operation))}</section>
`,
)}<section aria-labelledby="errors">
<h2 id="errors">Errors</h2>
<p>Match on <code>code</code>. An outcome of <code>none</code>: nothing was stored, now or later. <code>unknown</code>: it may have been stored; repeat the request with the same <code>Idempotency-Key</code>.</p>
${(Object.keys(ERRORS) as ErrorCode[]).map(errorHtml)}</section>
<section aria-labelledby="shapes">
<h2 id="shapes">Shapes</h2>
${Object.entries(document.components.schemas).map(shapeHtml)}</section>
</main>
</body>
</html>
`
  return page.text
}

function operationHtml(
  where: { method: string; path: string; url: string },
  operation: OperationObject,
): Html {
  const { operationId, summary, description, parameters, responses } = operation
  const bodies = Object.entries(operation.requestBody?.content ?? {})
  return html`<article aria-labelledby="${operationId}">
<h3 id="${operationId}"><code>${where.method} ${where.path}</code> <span>${summary}</span></h3>
<p>${inline(description)}</p>
<p><strong>Who:</strong> ${operation['x-role']}. <strong>Limits:</strong> ${inline(operation['x-limits'])}</p>
<pre><code>${curlOf(where, operation)}</code></pre>
${table('Parameters', ['name', 'meaning'], parameters.map(parameterRow))}${table(
  'Body',
  ['type', 'shape'],
  bodies.map(([type, { schema }]) => [html`<code>${type}</code>`, shapeName(schema)]),
)}${table('Answers', ['status', 'meaning'], Object.entries(responses).map(answerRow))}</article>
`
}

function parameterRow({ name, in: where, description, schema }: ParameterObject): [Html, Html] {
  return [
    html`<code>${name}</code> <small>${where}</small>`,
    html`${inline(description)} <small>${shapeName(schema)}</small>`,
  ]
}

function answerRow([status, response]: [string, ResponseObject]): [string, Html] {
  const codes = response['x-codes'] ?? []
  const shapes = Object.entries(response.content ?? {}).filter(
    ([type]) => type !== 'application/problem+json',
  )
  // What is only an error is told by its codes.
  const does = codes.length > 0 && shapes.length === 0 ? '' : response.description.split(' Or: ')[0]!
  const told = shapes.map(([type, { schema }]) => html` <code>${type}</code> ${shapeName(schema)}`)
  const errors = codes.map((code) => html` <a href="#${code}"><code>${code}</code></a>`)
  return [status, html`${inline(does)}${told}${errors}`]
}

/** A table; the first cell of a row is its heading. Nothing when there are no rows. */
function table(caption: string, heads: string[], rows: (Html | string)[][]): Html {
  if (rows.length === 0) return html``
  return html`<table>
<caption>${caption}</caption>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>
${rows.map(
  ([first = '', ...others]) =>
    html`<tr><th scope="row">${first}</th>${others.map((cell) => html`<td>${cell}</td>`)}</tr>
`,
)}</tbody>
</table>
`
}

function errorHtml(code: ErrorCode): Html {
  const { when, todo } = ERROR_HELP[code]
  const { status, title } = PROBLEMS[code]
  const { retryable, outcome } = ERRORS[code]
  return html`<article aria-labelledby="${code}">
<h3 id="${code}"><code>${code}</code> <span>${title}</span></h3>
<p><strong>${String(status)}</strong>, ${retryable ? 'the same request may succeed later' : 'the same request fails again'}, outcome <code>${outcome}</code>.</p>
<p>${inline(when)}</p>
<p><strong>What to do:</strong> ${inline(todo)}</p>
</article>
`
}

function shapeHtml([name, schema]: [string, JsonSchema]): Html {
  const fields = fieldsOf(schema)
  return html`<article aria-labelledby="shape-${name}">
<h3 id="shape-${name}"><code>${name}</code></h3>
<p>${inline(String(schema['description']))}</p>
${table(
  'Fields',
  ['name', 'meaning'],
  fields.map((field) => [
    html`<code>${field.name}</code>`,
    html`${shapeName(field.schema)}${field.isOptional ? ', or absent' : ''}. ${inline(field.does)}`,
  ]),
)}</article>
`
}

/** The words for a schema, its named shapes as links. */
function shapeName(schema: JsonSchema): Html {
  const words = typeOf(schema, (name) => `«${name}»`).split(/[«»]/)
  return html`${words.map((word, index) => (index % 2 === 0 ? word : html`<a href="#shape-${word}">${word}</a>`))}`
}

function anchorOf(part: string): string {
  return part.toLowerCase().replaceAll(' ', '-')
}
