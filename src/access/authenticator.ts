// From the text of a token to who speaks, and the end of what they hold open.
//   A1. Only the hash travels: the database is asked by it, and the answer is compared in constant time.
//   A2. A revoked or expired token opens nothing from now on, and what it holds open is closed within a second, whichever process revoked it.
//   A3. Using a token writes at most one row per minute and process.
//   A4. Nothing runs while nobody holds anything open.

import { timingSafeEqual } from "node:crypto";
import type { Logger } from "pino";
import type { TokenId } from "../domain/ids.js";
import type { Role } from "./roles.js";
import { hashToken, isTokenText } from "./token-text.js";
import type { AccessDb } from "./tokens.js";

/** Who speaks: the token behind a request. */
export interface Principal {
  readonly tokenId: TokenId;
  /** The token's name; what events and audit rows call `by` and `actor`. */
  readonly name: string;
  readonly role: Role;
  /** An agent token may be bound to one agent. */
  readonly agentName: string | null;
  readonly expiresAt: Date | null;
}

export interface Authenticator {
  /** Who the token belongs to; null when it is unknown, revoked, expired or no token at all. */
  authenticate(token: string): Promise<Principal | null>;
  /** Calls `end` once when the principal's token is revoked or expires; the result takes that back. */
  onEnd(principal: Principal, end: () => void): () => void;
  /** Looks now instead of within half a second: for the process that revoked. */
  checkNow(): void;
  /** Tokens that hold something open. */
  readonly watched: number;
  stop(): void;
}

/** Revocations of other processes are looked for this often, in milliseconds; half of the promised second. */
const CHECK_EVERY_MS = 400;
const LAST_USED_EVERY_MS = 60_000;

/** Takes `Authorization: Bearer …` (or the same text as a connection parameter) apart; null when there is none. */
export function bearerToken(authorization: string | undefined): string | null {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1] ?? null;
}

export function createAuthenticator({ db, log }: { readonly db: AccessDb; readonly log: Pick<Logger, "warn"> }): Authenticator {
  const held = new Map<TokenId, Set<() => void>>();
  const lastUsed = new Map<TokenId, number>();
  const asking = new Map<string, Promise<Principal | null>>();
  let timer: NodeJS.Timeout | null = null;
  let checking = false;

  /** Those who ask for the same token in the same turn share the answer: it is read after all of them asked, so A2 holds for each. */
  function authenticate(token: string): Promise<Principal | null> {
    if (!isTokenText(token)) return Promise.resolve(null);
    const hash = hashToken(token);
    const asked = asking.get(hash);
    if (asked !== undefined) return asked;
    const answer = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      asking.delete(hash);
      return lookUp(hash);
    });
    asking.set(hash, answer);
    return answer;
  }

  async function lookUp(hash: string): Promise<Principal | null> {
    const row = await db.selectFrom("tokens").select(["id", "name", "role", "hash", "agent_name", "expires_at"])
      .where("hash", "=", hash).where("revoked_at", "is", null)
      .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", eb.fn<Date>("now"))]))
      .executeTakeFirst();
    if (row === undefined || !timingSafeEqual(Buffer.from(row.hash, "hex"), Buffer.from(hash, "hex"))) return null;
    noteUse(row.id);
    return { tokenId: row.id, name: row.name, role: row.role, agentName: row.agent_name, expiresAt: row.expires_at };
  }

  /** A3. Nobody waits for it: the time of last use is worth no refused request. */
  function noteUse(id: TokenId): void {
    const now = Date.now();
    if (now - (lastUsed.get(id) ?? 0) < LAST_USED_EVERY_MS) return;
    if (lastUsed.size > 10_000) lastUsed.clear();
    lastUsed.set(id, now);
    db.updateTable("tokens").set((eb) => ({ last_used_at: eb.fn<Date>("now") })).where("id", "=", id).execute()
      .catch((error: unknown) => log.warn({ err: error, tokenId: id }, "the time a token was last used could not be noted"));
  }

  function onEnd(principal: Principal, end: () => void): () => void {
    const ends = held.get(principal.tokenId) ?? new Set();
    held.set(principal.tokenId, ends.add(end));
    timer ??= setInterval(() => void check(), CHECK_EVERY_MS).unref();
    return () => {
      ends.delete(end);
      if (ends.size === 0 && held.get(principal.tokenId) === ends) held.delete(principal.tokenId);
      if (held.size === 0) stop();
    };
  }

  async function check(): Promise<void> {
    if (checking || held.size === 0) return;
    checking = true;
    try {
      const asked = [...held.keys()]; // a token that comes meanwhile was good just now
      const alive = await db.selectFrom("tokens").select("id").where("id", "in", asked).where("revoked_at", "is", null)
        .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", eb.fn<Date>("now"))])).execute();
      const living = new Set(alive.map((row) => row.id));
      for (const id of asked.filter((candidate) => !living.has(candidate))) {
        const ends = held.get(id) ?? [];
        held.delete(id);
        for (const end of ends) end();
      }
      if (held.size === 0) stop();
    } catch (error) {
      log.warn({ err: error }, "tokens could not be checked for revocation; the next look follows at once");
    } finally {
      checking = false;
    }
  }

  function stop(): void {
    if (timer !== null) clearInterval(timer);
    timer = null;
  }

  return { authenticate, onEnd, checkNow: () => void check(), get watched() { return held.size; }, stop };
}
