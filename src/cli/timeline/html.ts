import { createHash } from 'node:crypto'
import type { Timeline } from '../../diagnostics/timeline/timeline.ts'
import { TIMELINE_PAGE } from './timeline-page.generated.ts'

/**
 * A timeline as a page that needs nothing else: it can be kept, sent, and opened from a disk. Whatever stands in the
 * recording, the page runs nothing but its own script, and loads nothing.
 */
export function timelineHtml(timeline: Timeline): string {
  const { script, style } = TIMELINE_PAGE
  const policy = `default-src 'none'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; img-src data:; base-uri 'none'; form-action 'none'`
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n' +
    `<meta http-equiv="content-security-policy" content="${policy}">\n` +
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>Timeline of the pools</title>\n' +
    `<link rel="icon" href="data:,">\n<style>${style}</style>\n</head>\n<body>\n<noscript>This page needs JavaScript; \`timeline --svg\` makes a picture.</noscript>\n` +
    // In JSON, this is the same text, and it cannot end the element.
    `<script type="application/json" id="timeline">${JSON.stringify(timeline).replaceAll('<', '\\u003c')}</script>\n` +
    `<script>${script}</script>\n</body>\n</html>\n`
  )
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
