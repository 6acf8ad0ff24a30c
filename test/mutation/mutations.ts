/*
 * Small faults of compiled sources, each of which some test should notice. They are chosen in the syntax tree, as
 * StrykerJS does: conditions that are always or never true, operands left out, bounds moved by one, calls and assignments
 * left out, wrong booleans. Not in messages, log lines and imports.
 */

import {
  isArrowFunction,
  isAwaitExpression,
  isBinaryExpression,
  isBlock,
  isCallExpression,
  isConditionalExpression,
  isConstructorDeclaration,
  isExpressionStatement,
  isForStatement,
  isIdentifier,
  isIfStatement,
  isNoSubstitutionTemplateLiteral,
  isPostfixUnaryExpression,
  isPrefixUnaryExpression,
  isPropertyAccessExpression,
  isReturnStatement,
  isStringLiteral,
  isTemplateExpression,
  isWhileStatement,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast'

export interface Mutation {
  /** Below the folder of compiled sources. */
  readonly file: string
  /** What is replaced in the text of the file: from here, to here, by this. */
  readonly start: number
  readonly end: number
  readonly by: string
  readonly kind: string
}

const BOUNDS = new Map([
  [SyntaxKind.LessThanToken, '<='],
  [SyntaxKind.LessThanEqualsToken, '<'],
  [SyntaxKind.GreaterThanToken, '>='],
  [SyntaxKind.GreaterThanEqualsToken, '>'],
])
const OTHERS = new Map([
  [SyntaxKind.EqualsEqualsEqualsToken, '!=='],
  [SyntaxKind.ExclamationEqualsEqualsToken, '==='],
  [SyntaxKind.PlusToken, '-'],
  [SyntaxKind.MinusToken, '+'],
  [SyntaxKind.AsteriskToken, '/'],
  [SyntaxKind.SlashToken, '*'],
  [SyntaxKind.PlusEqualsToken, '-='],
  [SyntaxKind.MinusEqualsToken, '+='],
])
const EITHER = new Set([
  SyntaxKind.AmpersandAmpersandToken,
  SyntaxKind.BarBarToken,
  SyntaxKind.QuestionQuestionToken,
])
const SIBLINGS = new Map([
  ...[['min', 'max'] as const, ['some', 'every'] as const].flatMap(([a, b]) => [
    [a, b] as const,
    [b, a] as const,
  ]),
])

const isText = (node: Node): boolean =>
  isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node) || isTemplateExpression(node)

/** Log lines, messages, and what the compiler adds for the modules. */
const isSkipped = (node: Node, text: string): boolean =>
  isTemplateExpression(node) ||
  /^log_ts_\d+\.log\.|^Object\.defineProperty\(exports|^exports\.|^\(0, [\w$]*log_ts/.test(text) ||
  /^if \(log_ts_\d+\.log\.\w+\.enabled\)/.test(text) ||
  /^(?:const|var|let) .*= (?:\(this && this\.\w+\) \|\||(?:__\w+\()?require\()/.test(text)

/** Fields of a constructor's own parameters: nothing works without them. */
const isPlainField = (text: string): boolean => /^this\.#?\w+ = [\w.]+;$/.test(text)

/** All mutations of one compiled file. */
export function mutationsOf(file: string, source: SourceFile): Mutation[] {
  const found: Mutation[] = []
  const at = (node: Node): [number, number] => [node.getStart(source), node.end]
  const textOf = (node: Node): string => source.text.slice(...at(node))
  const replace = (node: Node, by: string, kind: string): void => {
    const [start, end] = at(node)
    found.push({ file, start, end, by, kind })
  }

  const condition = (node: Node): void => {
    replace(node, 'true', 'always true')
    replace(node, 'false', 'never true')
  }

  const binary = (node: Node): void => {
    if (!isBinaryExpression(node)) return
    const { left, right, operatorToken } = node
    const bound = BOUNDS.get(operatorToken.kind)
    if (bound !== undefined) replace(operatorToken, bound, 'bound')
    const other = OTHERS.get(operatorToken.kind)
    if (other !== undefined && !isText(left) && !isText(right) && !isWholeCondition(node))
      replace(operatorToken, other, 'operator')
    if (EITHER.has(operatorToken.kind)) {
      replace(node, `(${textOf(left)})`, 'right operand dropped')
      replace(node, `(${textOf(right)})`, 'left operand dropped')
    }
  }

  const isWholeCondition = ({ parent, pos }: Node): boolean =>
    ((isIfStatement(parent) || isWhileStatement(parent)) && parent.expression.pos === pos) ||
    (isConditionalExpression(parent) && parent.condition.pos === pos)

  /** What hangs on a condition alone: that the condition is never true is the same fault. */
  const isWholeBranch = (node: Node): boolean => {
    const { parent } = node
    if (isBlock(parent)) return parent.statements.length === 1 && isWholeBranch(parent)
    return isIfStatement(parent) && parent.thenStatement === node && parent.elseStatement === undefined
  }

  const statement = (node: Node, isConstructing: boolean): void => {
    if (node.parent === undefined || isWholeBranch(node)) return
    const text = textOf(node)
    if (isExpressionStatement(node)) {
      if (/^super\(|^['"]/.test(text) || (isConstructing && isPlainField(text))) return
      replace(
        node,
        ';',
        /^[^('"`]* (?:[-+*/]|\?\?|\|\||&&)?= /.test(text) ? 'assignment dropped' : 'call dropped',
      )
    } else if (isReturnStatement(node) && node.expression === undefined) replace(node, ';', 'return dropped')
    else if (node.kind === SyntaxKind.ThrowStatement) replace(node, ';', 'throw dropped')
    else if (node.kind === SyntaxKind.ContinueStatement) replace(node, ';', 'continue dropped')
    else if (node.kind === SyntaxKind.BreakStatement && node.parent.kind !== SyntaxKind.CaseClause)
      replace(node, ';', 'break dropped')
  }

  const visit = (node: Node, isConstructing: boolean): void => {
    if (isSkipped(node, textOf(node))) return
    statement(node, isConstructing)
    binary(node)
    if (isIfStatement(node) || isWhileStatement(node)) condition(node.expression)
    else if (isConditionalExpression(node)) condition(node.condition)
    else if (isForStatement(node) && node.condition !== undefined)
      replace(node.condition, 'false', 'never true')
    else if (node.kind === SyntaxKind.TrueKeyword) replace(node, 'false', 'boolean')
    else if (node.kind === SyntaxKind.FalseKeyword) replace(node, 'true', 'boolean')
    else if (isAwaitExpression(node)) replace(node, `(${textOf(node.expression)})`, 'await dropped')
    else if (isPrefixUnaryExpression(node)) unary(node)
    else if (isPostfixUnaryExpression(node) && !isForStatement(node.parent)) unary(node)
    else if (isArrowFunction(node) && isCallExpression(node.body))
      replace(node.body, 'undefined', 'call dropped')
    else if (isPropertyAccessExpression(node)) access(node)
    const inside = isConstructing || isConstructorDeclaration(node)
    node.forEachChild(child => visit(child, inside))
  }

  const unary = (node: Node): void => {
    if (isPrefixUnaryExpression(node)) {
      if (node.operator === SyntaxKind.ExclamationToken && !isWholeCondition(node))
        replace(node, `(${textOf(node.operand)})`, 'not dropped')
      if (node.operator === SyntaxKind.MinusToken) replace(node, textOf(node.operand), 'minus dropped')
    }
    const text = textOf(node)
    if (text.includes('++')) replace(node, text.replace('++', '--'), 'operator')
    else if (text.includes('--')) replace(node, text.replace('--', '++'), 'operator')
  }

  const access = (node: Node): void => {
    if (!isPropertyAccessExpression(node)) return
    if (node.questionDotToken !== undefined) replace(node.questionDotToken, '.', 'optional access')
    const sibling = isIdentifier(node.name) ? SIBLINGS.get(textOf(node.name) as 'min') : undefined
    if (sibling !== undefined && isCallExpression(node.parent) && node.parent.expression === node)
      replace(node.name, sibling, 'sibling')
  }

  visit(source, false)
  return found
}

export const mutated = (text: string, { start, end, by }: Mutation): string =>
  `${text.slice(0, start)}${by}${text.slice(end)}`
