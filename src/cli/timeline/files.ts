import { accessSync, constants, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

export type Kind = 'socket' | 'file' | undefined

/** What is at a path, or where a link there leads to. A pipe, such as the shell makes of `<(…)`, is read as a file. */
export function kindOf(path: string): Kind {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found?.isSocket()) return 'socket'
  return found?.isFile() || found?.isFIFO() || found?.isCharacterDevice() ? 'file' : undefined
}

export const readText = (path: string): string => readFileSync(path, 'utf8')

/** @throws Error if nothing can be written there, before anything has been recorded for it */
export function checkOut(path: string, isForced: boolean): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) {
    accessSync(dirname(path), constants.W_OK)
    return
  }
  const there = statSync(path, { throwIfNoEntry: false })
  if (there?.isDirectory()) throw new Error(`${path} is a folder`)
  // A pipe or a device has nothing that could be lost.
  if ((there === undefined || there.isFile()) && !isForced)
    throw new Error(`${path} is there already: choose another name, or --force`)
  if (there !== undefined) accessSync(path, constants.W_OK)
}

export function writeText(path: string, text: string, isForced: boolean): void {
  const isOther = statSync(path, { throwIfNoEntry: false })?.isFile() === false
  writeFileSync(path, text, { flag: isForced || isOther ? 'w' : 'wx' })
}
