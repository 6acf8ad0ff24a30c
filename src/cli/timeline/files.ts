import { lstatSync, readFileSync, writeFileSync } from 'node:fs'

export type Kind = 'socket' | 'file' | undefined

/** What is at a path. */
export function kindOf(path: string): Kind {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return found?.isSocket() ? 'socket' : found?.isFile() ? 'file' : undefined
}

export const readText = (path: string): string => readFileSync(path, 'utf8')
export const writeText = (path: string, text: string): void => writeFileSync(path, text)
