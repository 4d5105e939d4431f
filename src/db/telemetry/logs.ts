// Reads logs. Offsets are bytes of the stage's log, gaps included; an attempt's part is addressed in the same space.
//   L1. A slice never splits a code point, and holds at least one when there is one.
//   L2. A slice is contiguous: it ends where a gap begins; the next one says how many bytes were left out before it.
//   L3. Reading on from `toByte` reaches `totalBytes`, and what was read plus what was declared as left out is all there is.

import { sql } from "kysely";
import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";
import { boundaryBefore } from "./log-append.js";

/** Most bytes of one slice. */
const MAX_SLICE_BYTES = 1_048_576;
/** Bytes looked through for the last lines. */
const MAX_TAIL_BYTES = 262_144;
const LONGEST_CODE_POINT = 4;

export interface LogQuery {
  readonly stageId: StageId;
  /** Where to begin. Inside a code point: at its start. */
  readonly fromByte: number;
  /** Taken between 1 and 1 MiB. */
  readonly maxBytes: number;
  /** Number of an attempt, to read its part only; null: the stage's whole log. */
  readonly attempt: number | null;
}

export interface LogSlice {
  /** Where the text begins: later than asked for by the bytes that were left out. */
  readonly fromByte: number;
  readonly toByte: number;
  readonly text: string;
  /** Bytes between the one asked for and `fromByte` that were left out for good. */
  readonly skippedBytes: number;
  /** End of the log so far (of the attempt's part, when one is asked for). */
  readonly totalBytes: number;
}

interface Chunk { from_byte: number; to_byte: number; skipped_bytes: number; data: Buffer }

/** A piece of a stage's log. A stage without a log gives an empty slice. */
export async function readLog(db: Db, query: LogQuery): Promise<LogSlice> {
  const { stageId, attempt } = query;
  const asked = Math.max(0, query.fromByte);
  const maxBytes = Math.min(MAX_SLICE_BYTES, Math.max(1, query.maxBytes));
  const totalBytes = await endOf(db, stageId, attempt);
  const first = await chunkAt(db, stageId, asked, attempt);
  if (first === null) {
    const end = Math.max(asked, totalBytes); // everything up to the end was left out, or there is nothing yet
    return { fromByte: end, toByte: end, text: "", skippedBytes: Math.max(0, totalBytes - asked), totalBytes };
  }
  const start = Math.max(asked, first.from_byte);
  const bytes = await contiguousFrom(db, stageId, first, start - first.from_byte + maxBytes + LONGEST_CODE_POINT, attempt);
  const low = boundaryBefore(bytes, 0, start - first.from_byte);
  let high = boundaryBefore(bytes, low, low + maxBytes);
  if (high === low) high = nextBoundary(bytes, low);
  const fromByte = first.from_byte + low;
  return { fromByte, toByte: first.from_byte + high, text: bytes.toString("utf8", low, high), skippedBytes: Math.min(Math.max(0, fromByte - asked), first.skipped_bytes), totalBytes: Math.max(totalBytes, first.from_byte + high) };
}

/** The last lines, oldest first; of one attempt, or of the stage's whole log. A gap is a line of its own. Looks through the last 256 KiB. */
export async function readLogTail(db: Db, stageId: StageId, lines: number, attempt: number | null = null): Promise<string[]> {
  const { rows } = await sql<Chunk>`
    select from_byte, to_byte, skipped_bytes, data from (
      select *, sum(to_byte - from_byte) over (order by from_byte desc) - (to_byte - from_byte) as after
        from (select * from log_chunks where stage_id = ${stageId} and (${attempt}::int is null or attempt = ${attempt}::int) order by from_byte desc limit 512) newest) c
     where after < ${MAX_TAIL_BYTES}::bigint order by from_byte`.execute(db);
  const parts: string[] = [];
  rows.forEach((row, index) => {
    if (row.skipped_bytes > 0 && index > 0) parts.push(`\n[${row.skipped_bytes} bytes left out]\n`);
    parts.push(row.data.toString());
  });
  const text = parts.join("");
  const all = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  return text === "" ? [] : all.slice(Math.max(0, all.length - lines));
}

/** Where the log ends, gaps included. */
async function endOf(db: Db, stageId: StageId, attempt: number | null): Promise<number> {
  if (attempt === null) {
    const row = await db.selectFrom("stage_telemetry").select("log_length").where("stage_id", "=", stageId).executeTakeFirst();
    return row?.log_length ?? 0;
  }
  const row = await db.selectFrom("log_chunks").select("to_byte").where("stage_id", "=", stageId).where("attempt", "=", attempt).orderBy("from_byte", "desc").limit(1).executeTakeFirst();
  return row?.to_byte ?? 0;
}

/** The chunk that holds the byte, or the first one after it. */
async function chunkAt(db: Db, stageId: StageId, byte: number, attempt: number | null): Promise<Chunk | null> {
  const { rows } = await sql<Chunk>`
    select from_byte, to_byte, skipped_bytes, data from log_chunks
     where stage_id = ${stageId} and to_byte > ${byte}::bigint and (${attempt}::int is null or attempt = ${attempt}::int)
       and from_byte >= coalesce((select from_byte from log_chunks where stage_id = ${stageId} and from_byte <= ${byte}::bigint order by from_byte desc limit 1), 0)
     order by from_byte limit 1`.execute(db);
  return rows[0] ?? null;
}

/** Bytes from the start of a chunk on, at least `wanted` unless a gap, another attempt or the end comes before. */
async function contiguousFrom(db: Db, stageId: StageId, first: Chunk, wanted: number, attempt: number | null): Promise<Buffer> {
  if (first.data.length >= wanted) return first.data;
  const { rows } = await sql<Chunk>`
    select from_byte, to_byte, skipped_bytes, data from log_chunks
     where stage_id = ${stageId} and from_byte > ${first.from_byte}::bigint and from_byte < ${first.from_byte + wanted}::bigint and (${attempt}::int is null or attempt = ${attempt}::int)
     order by from_byte`.execute(db);
  const parts = [first.data];
  let end = first.to_byte;
  for (const chunk of rows) {
    if (chunk.from_byte !== end) break; // L2
    parts.push(chunk.data);
    end = chunk.to_byte;
  }
  return Buffer.concat(parts);
}

function nextBoundary(bytes: Buffer, from: number): number {
  let at = from + 1;
  while (at < bytes.length && (bytes[at]! & 0xc0) === 0x80) at++;
  return Math.min(at, bytes.length);
}
