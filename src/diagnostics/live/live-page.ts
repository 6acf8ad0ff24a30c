import { createHash } from 'node:crypto'
import { LIVE_PAGE } from './live-page.generated.ts'

/** A page, and the headers that let it run nothing but its own script. */
export interface Page {
  readonly html: string
  readonly headers: Readonly<Record<string, string>>
}

let page: Page | undefined

/** The live page. It has no data in it: it asks for that, with a token if need be. */
export function livePage(): Page {
  page ??= makePage()
  return page
}

function makePage(): Page {
  const { script, style } = LIVE_PAGE
  const html =
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n' +
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>lifeguard-pool</title>\n' +
    '<link rel="icon" href="data:,">\n' +
    `<style>${style}</style>\n</head>\n<body>\n<noscript>This page needs JavaScript; /report has the same as text.</noscript>\n` +
    `<script>${script}</script>\n</body>\n</html>\n`
  return { html, headers: { 'content-security-policy': policy(script, style), ...HEADERS } }
}

const HEADERS = {
  vary: 'accept',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}

const policy = (script: string, style: string): string =>
  [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Is this a browser that wants to show a page? Others, which take anything, are answered as ever. */
export const wantsPage = (accept: string | undefined): boolean =>
  (accept ?? '')
    .split(',')
    .some(each => /^\s*text\/html\s*(?:;|$)/i.test(each) && !/;\s*q=0(?:\.0*)?\s*$/.test(each))
