// Problems of a specification as an editor understands them: file:line:col, then the line itself with a caret under the place.
import type { Style } from "../style.js";
import { cut, harmless } from "../render/text-width.js";
import type { Position, SpecSource } from "./spec-source.js";

export interface SpecProblem {
  /** JSON path; empty for the whole, or for a syntax error. */
  readonly path: string;
  readonly severity: "ERROR" | "WARNING";
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface LocatedProblem extends SpecProblem {
  readonly position: Position | null;
  /** "--set …" or "--simulate" when the value came from the command line and stands nowhere in the file. */
  readonly origin: string | null;
}

/** Characters of a line that are shown; a long one is cut around the caret. */
const SHOWN = 120;

/** Errors of the parser, as problems. */
export function syntaxProblems(source: SpecSource): LocatedProblem[] {
  return source.syntaxErrors.map(({ message, ...position }) => ({ path: "", severity: "ERROR", code: "SYNTAX", message, hint: null, position, origin: null }));
}

/** Finds each problem in the text, in the order of the text. `overrides`: paths that the command line changed, with what the user typed. */
export function locateProblems(source: SpecSource, problems: readonly SpecProblem[], overrides: readonly { readonly path: string; readonly typed: string }[] = []): LocatedProblem[] {
  const located = problems.map((problem): LocatedProblem => {
    const override = overrides.find(({ path }) => problem.path === path || problem.path.startsWith(`${path}.`) || problem.path.startsWith(`${path}[`));
    const position = override === undefined ? source.locate(problem.path, /UNKNOWN_FIELD|_KEY$/.test(problem.code)) : null;
    return { ...problem, position, origin: override === undefined ? null : override.typed };
  });
  const line = (problem: LocatedProblem) => problem.position?.line ?? 0;
  return located.sort((a, b) => line(a) - line(b) || (a.position?.column ?? 0) - (b.position?.column ?? 0));
}

/** The lines to print, one block per problem. */
export function renderProblems(source: SpecSource, problems: readonly LocatedProblem[], style: Style): string[] {
  return problems.flatMap((problem) => [...renderProblem(source, problem, style), ""]).slice(0, -1);
}

function renderProblem(source: SpecSource, problem: LocatedProblem, style: Style): string[] {
  const { position } = problem;
  const file = source.file === "-" ? "<stdin>" : source.file;
  const where = problem.origin ?? (position === null ? file : `${file}:${position.line}:${position.column}`);
  const word = problem.severity === "ERROR" ? style.red("error") : style.yellow("warning");
  const path = problem.path === "" || problem.message.includes(problem.path) ? "" : `${problem.path}: `;
  const head = `${style.bold(where)}: ${word}: ${harmless(path + problem.message)} ${style.dim(`[${problem.code}]`)}`;
  const hint = problem.hint === null ? [] : [`  ${style.cyan("help:")} ${harmless(problem.hint)}`];
  return [head, ...(position === null ? [] : excerpt(source.lines[position.line - 1] ?? "", position, style)), ...hint];
}

function excerpt(text: string, { line, column, length }: Position, style: Style): string[] {
  const start = Math.max(0, Math.min(column - 1 - SHOWN / 2, text.length - SHOWN));
  const shown = cut(harmless(text.slice(start).replaceAll("\t", " ")), SHOWN);
  const gutter = String(line);
  const carets = "^".repeat(Math.max(1, Math.min(length, SHOWN - (column - 1 - start))));
  return [`  ${style.dim(`${gutter} |`)} ${start > 0 ? "…" : ""}${shown}`, `  ${style.dim(`${" ".repeat(gutter.length)} |`)} ${" ".repeat(column - 1 - start + (start > 0 ? 1 : 0))}${style.red(carets)}`];
}

/** "2 errors and 1 warning". */
export function countProblems(problems: readonly SpecProblem[]): string {
  const number = (count: number, word: string) => (count === 0 ? [] : [`${count} ${word}${count === 1 ? "" : "s"}`]);
  const errors = problems.filter(({ severity }) => severity === "ERROR").length;
  return [...number(errors, "error"), ...number(problems.length - errors, "warning")].join(" and ");
}
