// Errors of queries and subscriptions as GraphQL shows them, and the mask over everything else.
//   E1. What a caller is expected to meet carries `extensions.code`; mutations answer most of it as union members instead (mutation.ts).
//   E2. Whatever is not expected reads "Unexpected error." with a request id; the whole of it is in the log under that id.

import { GraphQLError, type ExecutionResult } from "graphql";
import type { Logger } from "pino";
import { InvalidInputError, TrainyardError } from "../domain/errors.js";

/** No token was presented where one is needed. */
export function unauthenticated(): GraphQLError {
  return new GraphQLError("A token is needed. Send it as `Authorization: Bearer …`; over WebSocket as `authorization` in the connection parameters.", { extensions: { code: "UNAUTHENTICATED" } });
}

/** The token's role does not reach this. */
export function forbidden(what: string, role: string, needed: string): GraphQLError {
  return new GraphQLError(`${what} needs the role ${needed}; this token has the role ${role}. Use another token, or ask an admin for one.`, { extensions: { code: "FORBIDDEN" } });
}

/** An argument that cannot be meant. */
export function badInput(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } });
}

/** E2. Masks what is not expected, once. */
export function maskError(error: unknown, requestId: string, log: Pick<Logger, "error">): GraphQLError {
  const cause = rootOf(error);
  const place = error instanceof GraphQLError ? { nodes: error.nodes, path: error.path } : {};
  if (cause instanceof TrainyardError) {
    return new GraphQLError(cause.message, {
      ...place,
      extensions: { code: cause instanceof InvalidInputError ? "BAD_USER_INPUT" : cause.code, retryable: cause.retryable, ...(cause instanceof InvalidInputError ? { problems: cause.problems } : {}) },
    });
  }
  if (cause instanceof GraphQLError) return error as GraphQLError;
  if (isStoreAway(cause)) {
    log.error({ err: cause, requestId }, "a request met a database that does not answer");
    return new GraphQLError("The database does not answer at the moment. Try again.", { ...place, extensions: { code: "UNAVAILABLE", retryable: true, requestId } });
  }
  log.error({ err: cause, requestId }, "a request met an unexpected error");
  return new GraphQLError("Unexpected error.", { ...place, extensions: { code: "INTERNAL", requestId } });
}

/** `maskError` over a result; the same object when there is nothing to mask. */
export function maskResult(result: ExecutionResult, requestId: string, log: Pick<Logger, "error">): ExecutionResult {
  if (result.errors === undefined) return result;
  return { ...result, errors: result.errors.map((error) => maskError(error, requestId, log)) };
}

/** Errors of the connection to Postgres, or of a Postgres that is starting, stopping or out of resources; by their SQLSTATE classes, system codes and pg's own words. */
function isStoreAway(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string") return /^(08|53|57)[0-9A-Z]{3}$/.test(code) || /^(ECONN|EPIPE|ETIMEDOUT)/.test(code);
  return error instanceof Error && /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(error.message);
}

/** The innermost error that GraphQL wrapped. */
function rootOf(error: unknown): unknown {
  let inner = error;
  while (inner instanceof GraphQLError && inner.originalError != null) inner = inner.originalError;
  return inner;
}
