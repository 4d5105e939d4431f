// Expected failures as types. Mutations return them as members of their result unions; all share the interface DomainError, so a client that asks for
// `... on DomainError { code message }` keeps working when members are added.

import { builder } from "./builder.js";
import { ERROR_MEMBER, isErrorValue, type ErrorValue } from "./mutation.js";
import { Problem } from "./validation.js";

export const DomainError = builder.interfaceRef<ErrorValue>("DomainError").implement({
  description: "Something that a caller is expected to meet: what happened, why, and what to do.",
  fields: (t) => ({
    code: t.exposeString("code", { description: "Stable; listed in docs/errors.md." }),
    message: t.exposeString("message"),
    retryable: t.exposeBoolean("retryable", { description: "Whether the same call may succeed later without a change." }),
  }),
  resolveType: (error) => ERROR_MEMBER[error.failed] ?? undefined,
});

export const InvalidInput = builder.objectRef<ErrorValue>("InvalidInputError").implement({
  description: "What was sent cannot be accepted. Nothing was stored.",
  interfaces: [DomainError],
  fields: (t) => ({ problems: t.field({ type: [Problem], description: "Each place that is wrong.", resolve: (error) => [...error.problems] }) }),
});

export const NotFound = builder.objectRef<ErrorValue>("NotFoundError").implement({
  description: "There is no such object, or the caller may not know of it.",
  interfaces: [DomainError],
});

export const Conflict = builder.objectRef<ErrorValue>("ConflictError").implement({
  description: "The object's state does not allow it, or the request id already stands for something else.",
  interfaces: [DomainError],
});

export const Forbidden = builder.objectRef<ErrorValue>("ForbiddenError").implement({
  description: "The token's role does not allow it.",
  interfaces: [DomainError],
});

/** Which member of a result union a value is: an error names itself, everything else is the payload. */
export function memberOf(payload: string): (value: unknown) => string {
  return (value) => (isErrorValue(value) ? (ERROR_MEMBER[value.failed] ?? payload) : payload);
}
