// Streams as mailboxes: append batches, read them as a consumer group's only consumer, acknowledge when they are safe elsewhere.
//   S1. What was read and not acknowledged is read again first, by us or by our successor.
//   S2. A missing group or stream (FLUSHALL, a deleted key) is recreated and said, so that the reader can ask for what was in it.
//   S3. A pending entry that was trimmed away arrives with `batch: null` and is acknowledged like any other (node-redis's own decoder throws on it).
//   S4. Acknowledged entries are deleted; streams are never trimmed by length.

import { BATCH_FIELD, CONSUMER } from "./keys.js";
import type { RedisConnection } from "./connection.js";

export interface StreamEntry {
  readonly key: string;
  readonly id: string;
  /** JSON, or null when the entry was deleted under us (S3). */
  readonly batch: string | null;
}

export interface ReadResult {
  readonly entries: readonly StreamEntry[];
  /** Streams whose group had to be made again: what was in them is lost (S2). The first read of a new stream says so too. */
  readonly recreated: readonly string[];
}

/** Appends one entry per batch, all in one go. */
export async function appendBatches(connection: RedisConnection, batches: readonly { readonly key: string; readonly batch: string }[]): Promise<void> {
  await Promise.all(batches.map(({ key, batch }) => connection.command(["XADD", key, "*", BATCH_FIELD, batch])));
}

/** S4. Repeatable. */
export async function acknowledge(connection: RedisConnection, group: string, entries: readonly Pick<StreamEntry, "key" | "id">[]): Promise<void> {
  const idsByKey = new Map<string, string[]>();
  for (const { key, id } of entries) idsByKey.set(key, [...(idsByKey.get(key) ?? []), id]);
  await Promise.all([...idsByKey].flatMap(([key, ids]) => [connection.command(["XACK", key, group, ...ids]), connection.command(["XDEL", key, ...ids])]));
}

export interface StreamReader {
  /**
   * The next entries of these streams, oldest first within each; empty after `blockMs` without any. Give it a connection of its own: it blocks.
   * Throws UnavailableError.
   */
  read(options: { readonly keys: readonly string[]; readonly blockMs: number; readonly count: number }): Promise<ReadResult>;
}

/** A reader over `connection`; make a new one for each connection, so that S1 holds. */
export function streamReader(connection: RedisConnection, group: string): StreamReader {
  /** Per stream: null once its pending entries are through, else the id after which the rest of them begins. */
  const pendingAfter = new Map<string, string | null>();

  const ensureGroups = async (keys: readonly string[]): Promise<string[]> => {
    const made = await Promise.all(keys.map(async (key) => {
      try {
        await connection.command(["XGROUP", "CREATE", key, group, "0", "MKSTREAM"]);
        return [key];
      } catch (error) {
        if (/^BUSYGROUP/.test((error as Error).message)) return [];
        throw error;
      }
    }));
    return made.flat();
  };
  const readFrom = async (keys: readonly string[], ids: readonly string[], count: number, blockMs: number | null): Promise<StreamEntry[]> => {
    const block = blockMs === null ? [] : ["BLOCK", String(Math.max(1, Math.round(blockMs)))];
    return decodeEntries(await connection.command(["XREADGROUP", "GROUP", group, CONSUMER, "COUNT", String(count), ...block, "STREAMS", ...keys, ...ids]));
  };

  return {
    async read({ keys, blockMs, count }) {
      const unseen = keys.filter((key) => !pendingAfter.has(key));
      const recreated = await ensureGroups(unseen);
      for (const key of unseen) pendingAfter.set(key, "0");
      try {
        const behind = keys.filter((key) => pendingAfter.get(key) !== null);
        if (behind.length > 0) {
          const entries = await readFrom(behind, behind.map((key) => pendingAfter.get(key) ?? "0"), count, null); // S1
          const last = new Map(entries.map((entry) => [entry.key, entry.id]));
          for (const key of behind) pendingAfter.set(key, last.get(key) ?? null);
          if (entries.length > 0) return { entries, recreated };
        }
        return { entries: await readFrom(keys, keys.map(() => ">"), count, recreated.length > 0 ? null : blockMs), recreated }; // S2 is said at once
      } catch (error) {
        if (!/^(NOGROUP|UNBLOCKED)/.test((error as Error).message)) throw error;
        return { entries: [], recreated: [...recreated, ...(await ensureGroups(keys))] }; // S2
      }
    },
  };
}

/** Reply of XREADGROUP as arrays: [[key, [[id, [field, value, …] | null], …]], …] or null. */
function decodeEntries(reply: unknown): StreamEntry[] {
  if (!Array.isArray(reply)) return [];
  return (reply as [string, [string, string[] | null][]][]).flatMap(([key, entries]) =>
    entries.map(([id, fields]) => {
      const at = fields?.indexOf(BATCH_FIELD) ?? -1;
      return { key, id, batch: at < 0 ? null : (fields?.[at + 1] ?? null) };
    }),
  );
}
