// The audit trail: who asked for which change, and whether it was accepted.
//   U1. Rows are only ever added.
//   U2. Nothing secret is stored: values of secret-looking keys and of `env` and `environment` are left out, and large inputs are kept as their hash and size.

import { createHash } from "node:crypto";
import type { AuditRow } from "../db/pipeline-store.js";
import type { Json } from "../domain/pipeline/state.js";
import { failpoint } from "../failpoints.js";
import type { Principal } from "./authenticator.js";
import type { AccessDb } from "./tokens.js";

export interface AuditEntry {
  /** Null: nobody was recognised. */
  readonly principal: Principal | null;
  /** Name of the mutation. */
  readonly action: string;
  /** Id of what it was about, when there is one. */
  readonly subject: string | null;
  /** As sent; `redact` is applied here. */
  readonly input: unknown;
  readonly outcome: "ACCEPTED" | "REFUSED";
  /** Code of the refusal. */
  readonly code: string | null;
  readonly requestId: string;
  readonly address: string | null;
}

const SECRET_KEY = /secret|password|passphrase|token|privatekey|credential|apikey|api_key/i;
const REDACTED = "[redacted]";
/** Inputs larger than this, in characters of JSON, are kept as hash and size. */
const KEEP_WHOLE = 16_384;
const MAX_DEPTH = 40;

/** Adds a row. Give the transaction of the change where there is one: then neither is there without the other. */
export async function recordAudit(db: AccessDb, entry: AuditEntry): Promise<void> {
  failpoint("during-audit-insert");
  const row = auditRow(entry);
  await db.insertInto("audit").values({ ...row, token_id: entry.principal?.tokenId ?? null, input: JSON.stringify(row.input), outcome: entry.outcome, code: entry.code }).execute();
}

/** What is stored of an entry, for whoever stores it in a transaction of their own. */
export function auditRow(entry: Omit<AuditEntry, "outcome" | "code">): AuditRow {
  return {
    actor: entry.principal?.name ?? "anonymous", token_id: entry.principal?.tokenId ?? null, role: entry.principal?.role ?? null, action: entry.action,
    subject: entry.subject === null ? null : storable(entry.subject.slice(0, 200)), input: redact(entry.input), request_id: entry.requestId, address: entry.address,
  };
}

/** U2. What may be kept of an input. */
export function redact(input: unknown): Json {
  const kept = redactValue(input, 0);
  const text = JSON.stringify(kept);
  if (text.length <= KEEP_WHOLE) return kept;
  return { large: true, bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex"), ...shallow(kept) };
}

function redactValue(value: unknown, depth: number): Json {
  if (typeof value === "string") return storable(value);
  if (typeof value === "number" || typeof value === "boolean") return value;
  if (value === null || typeof value !== "object") return null;
  if (depth >= MAX_DEPTH) return "[too deep]";
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [storable(key), redactEntry(key, item, depth)]));
}

/** Postgres keeps neither NUL nor half a surrogate pair in jsonb. */
function storable(text: string): string {
  return text.replaceAll("\u0000", "\uFFFD").toWellFormed();
}

function redactEntry(key: string, item: unknown, depth: number): Json {
  if (SECRET_KEY.test(key) && item !== null && item !== undefined && typeof item !== "object") return REDACTED;
  if ((key === "env" || key === "environment") && item !== null && typeof item === "object" && !Array.isArray(item)) return Object.fromEntries(Object.keys(item).map((name) => [storable(name), REDACTED]));
  return redactValue(item, depth + 1);
}

/** The short values near the top of a large input: enough to recognise it by. */
function shallow(kept: Json, depth = 0): { [key: string]: Json } {
  if (kept === null || typeof kept !== "object" || Array.isArray(kept)) return {};
  const short: { [key: string]: Json } = {};
  for (const [key, item] of Object.entries(kept).slice(0, 50)) {
    if (item === null || typeof item === "number" || typeof item === "boolean" || (typeof item === "string" && item.length <= 200)) short[key] = item;
    else if (!Array.isArray(item) && typeof item === "object" && depth < 3) short[key] = shallow(item, depth + 1);
  }
  return short;
}
