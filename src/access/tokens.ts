// Tokens as rows: made, listed, revoked. The text of a token leaves this file once, in the answer of `createToken`.

import type { Kysely, Selectable } from "kysely";
import type { Database } from "../db/tables.js";
import { ConflictError, InvalidInputError, NotFoundError, type Problem } from "../domain/errors.js";
import { isId, newId, type TokenId } from "../domain/ids.js";
import type { Role } from "./roles.js";
import { hashToken, isTokenText, mintToken } from "./token-text.js";

/** A token without anything secret. */
export type TokenRow = Omit<Selectable<Database["tokens"]>, "hash">;

/** Kysely or a transaction of it. */
export type AccessDb = Kysely<Database>;

const COLUMNS = ["id", "name", "role", "agent_name", "created_by", "created_at", "expires_at", "last_used_at", "revoked_at"] as const;
/** Longest life that may be asked for, in days. */
const MAX_EXPIRY_DAYS = 3_660;

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  /** Binds an agent token to one agent name; null for any, and for other roles. */
  readonly agentName: string | null;
  /** Days until it ends; null: never. */
  readonly expiresInDays: number | null;
  /** Name of the token that ordered it, or of the process. */
  readonly by: string;
}

/** Makes a token and returns its text, which nobody can learn again. Throws InvalidInputError. */
export async function createToken(db: AccessDb, input: NewToken): Promise<{ token: TokenRow; secret: string }> {
  const secret = mintToken(input.role);
  return { token: await insert(db, input, secret), secret };
}

/**
 * Makes sure that a token whose text is kept elsewhere (the files of an embedded server) is known; does nothing when it is. Throws InvalidInputError when the
 * text is no token, ConflictError when it was revoked.
 */
export async function adoptToken(db: AccessDb, input: NewToken, secret: string): Promise<TokenRow> {
  if (!isTokenText(secret)) throw refusal("secret", "The kept token is damaged.", "Remove its file and start again: a new one is made.");
  const known = await db.selectFrom("tokens").select(COLUMNS).where("hash", "=", hashToken(secret)).executeTakeFirst();
  if (known === undefined) return insert(db, input, secret);
  if (known.revoked_at !== null) throw new ConflictError("TOKEN_REVOKED", `The kept token "${known.name}" was revoked. Remove its file and start again: a new one is made.`);
  return known;
}

/** All tokens, newest first. */
export function listTokens(db: AccessDb): Promise<TokenRow[]> {
  return db.selectFrom("tokens").select(COLUMNS).orderBy("created_at", "desc").orderBy("id", "desc").execute();
}

/** Ends a token for good; doing it again changes nothing. Throws NotFoundError. */
export async function revokeToken(db: AccessDb, id: string): Promise<TokenRow> {
  if (!isId("tok", id)) throw new NotFoundError("token", id);
  const row = await db.updateTable("tokens")
    .set((eb) => ({ revoked_at: eb.fn.coalesce("revoked_at", eb.fn<Date>("now")) }))
    .where("id", "=", id as TokenId).returning(COLUMNS).executeTakeFirst();
  if (row === undefined) throw new NotFoundError("token", id);
  return row;
}

async function insert(db: AccessDb, input: NewToken, secret: string): Promise<TokenRow> {
  const problems = tokenProblems(input);
  if (problems.length > 0) throw new InvalidInputError("The token cannot be made as asked.", problems);
  return db.insertInto("tokens").values((eb) => ({
    id: newId("tok"), name: input.name, role: input.role, hash: hashToken(secret), agent_name: input.agentName, created_by: input.by,
    created_at: eb.fn<Date>("now"),
    expires_at: input.expiresInDays === null ? null : new Date(Date.now() + input.expiresInDays * 86_400_000),
  })).returning(COLUMNS).executeTakeFirstOrThrow();
}

function tokenProblems(input: NewToken): Problem[] {
  const problems: Problem[] = [];
  if (input.name.trim() === "" || input.name.length > 200) problems.push(problem("name", "A token's name has 1 to 200 characters.", "Say who or what uses it."));
  if (input.agentName !== null && input.role !== "agent") problems.push(problem("agentName", `A token of role ${input.role} cannot be bound to an agent.`, "Leave agentName out, or make a token of role agent."));
  if (input.expiresInDays !== null && !(input.expiresInDays > 0 && input.expiresInDays <= MAX_EXPIRY_DAYS)) {
    problems.push(problem("expiresInDays", `A token may last up to ${MAX_EXPIRY_DAYS} days.`, "Give a number of days above 0, or leave it out for a token that does not expire."));
  }
  return problems;
}

function problem(path: string, message: string, hint: string): Problem {
  return { path, severity: "ERROR", code: "INVALID_VALUE", message, hint };
}

function refusal(path: string, message: string, hint: string): InvalidInputError {
  return new InvalidInputError(message, [problem(path, message, hint)]);
}
