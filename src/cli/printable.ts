/*
 * What processes, servers and files of others call themselves must not reach a terminal as a command, nor turn the text
 * around it: control and format characters (the bidirectional ones among them) and halves of characters become `?`.
 */

/** One line. */
export const clean = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '?')

/** Text of several lines. */
export const printable = (text: string): string => text.split('\n').map(clean).join('\n')
