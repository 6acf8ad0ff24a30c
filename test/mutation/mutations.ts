/* One-line changes of compiled sources, each of which some test should notice. */

export interface Mutation {
  /** Below the folder of compiled sources. */
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly kind: string
  readonly before: string
  readonly after: string
}

interface Rule {
  readonly kind: string
  change(line: string): string | undefined
}

const swap =
  (from: RegExp, to: string) =>
  (line: string): string | undefined =>
    from.test(line) ? line.replace(from, to) : undefined

const RULES: readonly Rule[] = [
  // A call whose result nobody uses, on a line of its own. Listeners are removed by such calls, too.
  {
    kind: 'drop call',
    change: swap(/^(\s*)(?!return|throw|super|import|export|log\.)[\w.#?[\]]+\(.*\);$/, '$1;'),
  },
  {
    kind: 'drop assignment',
    change: swap(/^(\s*)(?:this\.)?[\w.#]+ (?:[-+]|\?\?|\|\||&&)?= (?!.*=>)[^{[(]*;$/, '$1;'),
  },
  { kind: 'negate condition', change: swap(/^(\s*)(else )?if \((.*)\)( ?\{)?$/, '$1$2if (!($3))$4') },
  {
    kind: 'negate condition',
    change: swap(/^(\s*)if \((.*)\) (return.*;|continue;|break;)$/, '$1if (!($2)) $3'),
  },
  { kind: 'drop await', change: swap(/\bawait /, '') },
  { kind: '< to <=', change: swap(/ < /, ' <= ') },
  { kind: '> to >=', change: swap(/ > /, ' >= ') },
  { kind: '<= to <', change: swap(/ <= /, ' < ') },
  { kind: '>= to >', change: swap(/ >= /, ' > ') },
  { kind: '&& to ||', change: swap(/ && /, ' || ') },
  { kind: '|| to &&', change: swap(/ \|\| /, ' && ') },
  { kind: '+ to -', change: swap(/ \+ (?!['"`])/, ' - ') },
]

/** All mutations of one compiled file. */
export function mutationsOf(file: string, text: string): Mutation[] {
  let isComment = false
  return text.split('\n').flatMap((before, index) => {
    const trimmed = before.trim()
    if (trimmed.startsWith('/*')) isComment = true
    const isCode = !isComment && !trimmed.startsWith('//') && !/^(?:import|export \{|\*)/.test(trimmed)
    if (trimmed.endsWith('*/')) isComment = false
    if (!isCode || /\blog\.|Symbol|\.defineProperty/.test(trimmed)) return []
    return RULES.flatMap(({ kind, change }) => {
      const after = change(before)
      return after === undefined || after === before ? [] : [{ file, line: index + 1, kind, before, after }]
    })
  })
}
