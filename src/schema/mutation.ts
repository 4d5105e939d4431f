// What every mutation has in common: who may, what went wrong as a member of the result union, and a row in the audit trail.
//   M1. Accepted and refused alike leave an audit row; a mutation inside one transaction of ours writes it there (`audit`), the others right after.
//   M2. An expected error becomes the union member of its kind; where the union has none, and for bugs, it is a top-level error.
//   M3. Without a token there is nobody to answer as a member: UNAUTHENTICATED. Such rows are limited, so that strangers cannot fill the trail.

import { getNamedType, isUnionType, type GraphQLResolveInfo } from "graphql";
import { auditRow, recordAudit } from "../access/audit.js";
import { includesRole } from "../access/roles.js";
import type { Principal } from "../access/authenticator.js";
import type { AccessDb } from "../access/tokens.js";
import type { AuditRow } from "../db/pipeline-store.js";
import { ForbiddenError, InvalidInputError, TrainyardError, type ErrorKind, type Problem } from "../domain/errors.js";
import { unauthenticated } from "./api-errors.js";
import { textProblem } from "./argument-texts.js";
import type { Context } from "./context.js";
import { neededRole } from "./permissions.js";

/** The member of a result union that carries an error of the kind. */
export const ERROR_MEMBER: Readonly<Record<ErrorKind, string | null>> = {
  INVALID_INPUT: "InvalidInputError", NOT_FOUND: "NotFoundError", CONFLICT: "ConflictError", FORBIDDEN: "ForbiddenError", UNAVAILABLE: null,
};

/** An error as a value: GraphQL throws whatever a resolver returns that is an Error. */
export interface ErrorValue {
  readonly failed: ErrorKind;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly problems: readonly Problem[];
}

/** Whether a mutation's result is an error member. */
export function isErrorValue(value: unknown): value is ErrorValue {
  return typeof value === "object" && value !== null && "failed" in value && (value as ErrorValue).failed in ERROR_MEMBER;
}

export interface Actor {
  readonly principal: Principal;
  /** Writes the audit row of the accepted mutation in a transaction of the mutation's own. */
  audit(trx: AccessDb, subject?: string | null): Promise<void>;
  /** The audit row of the accepted mutation, for the actors to store with the order. */
  auditRow(): AuditRow;
}

export interface MutationBody<Args, Payload> {
  /** Id of what it is about, for the audit trail; null when there is none yet. */
  readonly subject: (args: Args) => string | null;
  readonly run: (args: Args, actor: Actor, context: Context) => Promise<Payload>;
  /** Id of what came into being. */
  readonly made?: (payload: Payload) => string;
}

const audited_ = Symbol("audited");

/** The resolver of a mutation. */
export function audited<Args extends object, Payload>(body: MutationBody<Args, Payload>) {
  const resolve = async (_root: unknown, args: Args, context: Context, info: GraphQLResolveInfo): Promise<Payload | ErrorValue> => {
    const action = info.fieldName;
    const subject = body.subject(args);
    const facts = { principal: context.principal, action, input: args, requestId: context.requestId, address: context.address };
    let done = false;
    try {
      const principal = permitted(context.principal, action);
      const problem = textProblem(args as Record<string, unknown>);
      if (problem !== null) throw new InvalidInputError(problem, [{ path: "", severity: "ERROR", code: "INVALID_TEXT", message: problem, hint: null }]);
      const audit = async (trx: AccessDb, made: string | null = null) => {
        await recordAudit(trx, { ...facts, subject: made ?? subject, outcome: "ACCEPTED", code: null });
        done = true;
      };
      const row = () => {
        done = true;
        return auditRow({ ...facts, subject });
      };
      const payload = await body.run(args, { principal, audit, auditRow: row }, context);
      if (!done) await noted(context, audit(context.deps.db, body.made?.(payload) ?? null));
      return payload;
    } catch (error) {
      if (!(await strangersMayBeNoted(context))) throw error;
      const code = error instanceof TrainyardError ? error.code : context.principal === null ? "UNAUTHENTICATED" : "INTERNAL";
      await noted(context, recordAudit(context.deps.db, { ...facts, subject, outcome: "REFUSED", code }));
      if (error instanceof TrainyardError && isMember(error, info)) {
        return { failed: error.kind, code: error.code, message: error.message, retryable: error.retryable, problems: error instanceof InvalidInputError ? error.problems : [] };
      }
      throw error;
    }
  };
  return Object.assign(resolve, { [audited_]: true });
}

/** Whether the resolver was made here. */
export function isAudited(resolve: unknown): boolean {
  return typeof resolve === "function" && audited_ in resolve;
}

function permitted(principal: Principal | null, action: string): Principal {
  if (principal === null) throw unauthenticated();
  const needed = neededRole("Mutation", action);
  if (needed === null || !includesRole(principal.role, needed)) {
    throw new ForbiddenError(`${action} needs the role ${needed ?? "admin"}; the token "${principal.name}" has the role ${principal.role}. Use another token, or ask an admin for one.`);
  }
  return principal;
}

/** M1. The change stands whether or not its row could be written; the log then holds what the trail lacks. */
async function noted(context: Context, row: Promise<void>): Promise<void> {
  await row.catch((error: unknown) => context.deps.log.error({ err: error, requestId: context.requestId }, "an audit row could not be written"));
}

/** M3. Rows without an actor in the last minute; above the limit the log has to do. */
const STRANGER_ROWS_PER_MINUTE = 60;
async function strangersMayBeNoted({ principal, deps, address, requestId }: Context): Promise<boolean> {
  if (principal !== null) return true;
  const { count } = await deps.db.selectFrom("audit").select((eb) => eb.fn.countAll<number>().as("count"))
    .where("id", ">", (eb) => eb.selectFrom("audit").select((inner) => inner(inner.fn.coalesce(inner.fn.max("id"), inner.lit(0)), "-", STRANGER_ROWS_PER_MINUTE * 5).as("recent")))
    .where("actor", "=", "anonymous").where("token_id", "is", null).where("at", ">", new Date(Date.now() - 60_000)).executeTakeFirstOrThrow();
  if (count < STRANGER_ROWS_PER_MINUTE) return true;
  deps.log.warn({ address, requestId }, "a mutation without a token was refused; too many of these to keep a row of each");
  return false;
}

function isMember(error: TrainyardError, info: GraphQLResolveInfo): boolean {
  const union = getNamedType(info.returnType);
  const name = ERROR_MEMBER[error.kind];
  return isUnionType(union) && union.getTypes().some((type) => type.name === name);
}
