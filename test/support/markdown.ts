/** Reads the project's pages: their tables, fenced blocks and links. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A fenced block: the language after the fence, and what is inside. */
export interface Fence {
  language: string
  text: string
}

/** The text of a page, by its path from the project's root. */
export function pageOf(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')
}

/** The rows of all tables under a heading (any, when none is given), without heads; cells are trimmed. */
export function rowsOf(page: string, heading?: string): string[][] {
  const rows: string[][] = []
  let under = heading === undefined
  let isBody = false
  for (const line of withoutFences(page).split('\n')) {
    if (heading !== undefined && line.startsWith('## ')) under = line === `## ${heading}`
    if (!line.startsWith('|')) isBody = false
    else if (/^[| -]+$/.test(line)) isBody = true
    else if (under && isBody)
      rows.push(
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
  }
  return rows
}

/** The headings of second level, in order. */
export function headingsOf(page: string): string[] {
  return [...withoutFences(page).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading!)
}

/** The fenced blocks, in order. */
export function fencesOf(page: string): Fence[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: language!,
    text: text!,
  }))
}

/** The targets of links, without those inside fences. */
export function linksOf(page: string): string[] {
  return [...withoutFences(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
}

/** The anchors a page can be linked at, as GitHub makes them of headings. */
export function anchorsOf(page: string): string[] {
  return [...withoutFences(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** What stands between backquotes. */
export function codesIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)
}

function withoutFences(page: string): string {
  return page.replaceAll(/^```\w*\n[\s\S]*?^```$/gm, '')
}
