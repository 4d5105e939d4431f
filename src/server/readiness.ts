// Whether this server can do its work: the database answers, has the schema of this version, and somebody places work.

import { readdirSync } from "node:fs";
import { sql } from "kysely";
import type { Db } from "../db/database.js";
import { packagePath } from "../package-root.js";

export interface Readiness {
  readonly ready: boolean;
  /** In words, one entry per reason why not. */
  readonly problems: readonly string[];
}

/** An answer that takes longer than this counts as none, in milliseconds. */
const PATIENCE_MS = 2_000;

/** The check behind /readyz. */
export function createReadiness({ db }: { readonly db: Db }): () => Promise<Readiness> {
  const needed = readdirSync(packagePath("migrations")).filter((name) => name.endsWith(".sql"));

  async function problems(): Promise<string[]> {
    const { rows } = await sql<{ name: string }>`select name from schema_migrations`.execute(db);
    const applied = new Set(rows.map((row) => row.name));
    const missing = needed.filter((name) => !applied.has(name));
    if (missing.length > 0) return [`The database lacks ${missing.join(", ")}. Run \`trainyard migrate\`.`];
    const role = await db.selectFrom("roles").select("holder").where("name", "=", "dispatcher").executeTakeFirst();
    return role?.holder == null ? ["No control plane has taken the role of dispatcher yet: nothing is placed."] : [];
  }

  return async () => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string[]>((resolve) => { timer = setTimeout(() => resolve(["The database does not answer."]), PATIENCE_MS); });
    const found = await Promise.race([problems().catch((error: unknown) => [`The database does not answer: ${(error as { code?: string }).code ?? "connection failed"}.`]), late]);
    clearTimeout(timer);
    return { ready: found.length === 0, problems: found };
  };
}
