// The answers of mutations: a payload, or one of the documented errors as a member of the union.
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";

/** Select this in every mutation: errors added later still arrive. */
export const DOMAIN_ERROR = "... on DomainError { __typename code message retryable } ... on InvalidInputError { problems { path severity code message hint } }";

export interface ApiProblem {
  readonly path: string;
  readonly severity: "ERROR" | "WARNING";
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface DomainErrorAnswer {
  readonly __typename: string;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly problems?: readonly ApiProblem[];
}

/** A documented refusal by the server. */
export class RefusedError extends CliError {
  readonly code: string;
  readonly problems: readonly ApiProblem[];
  constructor(answer: DomainErrorAnswer) {
    super(exitCodeFor(answer.__typename), answer.message, { hint: answer.problems === undefined || answer.problems.length === 0 ? null : answer.problems.map(oneLine).join("\n") });
    this.code = answer.code;
    this.problems = answer.problems ?? [];
  }
}

/** The payload of a result union. Throws RefusedError when the answer is one of its errors. */
export function payloadOf<T extends object>(result: T | DomainErrorAnswer): T {
  if ("code" in result && "retryable" in result) throw new RefusedError(result as DomainErrorAnswer);
  return result as T;
}

function exitCodeFor(typename: string): ExitCode {
  switch (typename) {
    case "InvalidInputError": return EXIT.usage;
    case "NotFoundError": return EXIT.notFound;
    case "ForbiddenError": return EXIT.auth;
    default: return EXIT.failure;
  }
}

function oneLine(problem: ApiProblem): string {
  const hint = problem.hint === null ? "" : ` ${problem.hint}`;
  return `${problem.path === "" ? "" : `${problem.path}: `}${problem.message}${hint}`;
}
