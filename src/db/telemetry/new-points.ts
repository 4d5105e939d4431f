// What is new in a stage's metrics, for live readers.
//   N1. The cursor is a batch number of the stage (telemetry-rows.ts, R2): whoever has seen batch n has seen everything before it, whoever wrote it and however transactions overlapped.
//   N2. One call answers everything after the cursor, or says how much of it it left out. Nothing is kept between calls.
//   N3. Where it has to thin, each metric keeps its newest points and none is starved by another.
//   N4. Points that a later attempt has superseded meanwhile are not delivered, and not counted as dropped.

import { sql } from "kysely";
import { InvalidInputError } from "../../domain/errors.js";
import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";
import { BLOCK_STEPS } from "./metric-block.js";
import { int8Array } from "./pg-binary.js";
import { NO_LIMIT, readVisibleSeries } from "./visible-series.js";

export interface NewPointsQuery {
  readonly stageId: StageId;
  /** Null: all. */
  readonly names: readonly string[] | null;
  /** The cursor of the call before. Null begins: with the points after `afterStep`, or without one from now on. */
  readonly after: string | null;
  /** Only points of higher steps; for the first call and those after it alike. */
  readonly afterStep?: number | null;
  /** Most points of one answer, over all metrics. */
  readonly limit: number;
}

export interface NewPoint {
  readonly name: string;
  readonly step: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** May be NaN or infinite. */
  readonly value: number;
}

export interface NewPoints {
  /** By rising step, then name. */
  readonly points: readonly NewPoint[];
  /** For the next call. */
  readonly cursor: string;
  /** Points left out because there were more than `limit`; readMetrics has them. */
  readonly dropped: number;
}

/** Points committed after the cursor. Throws InvalidInputError (INVALID_CURSOR) for a cursor that this function did not give. */
export async function readNewPoints(db: Db, query: NewPointsQuery): Promise<NewPoints> {
  const afterStep = query.afterStep ?? null;
  const head = (await db.selectFrom("stage_telemetry").select("batch").where("stage_id", "=", query.stageId).executeTakeFirst())?.batch ?? 0;
  const after = query.after === null ? (afterStep === null ? head : 0) : parseCursor(query.after);
  const cursor = formatCursor(Math.max(head, after));
  if (after >= head) return { points: [], cursor, dropped: 0 };

  const wanted = query.names === null ? null : new Set(query.names);
  const series = (await readVisibleSeries(db, [query.stageId])).filter(({ name }) => wanted?.has(name) ?? true);
  if (series.length === 0) return { points: [], cursor, dropped: 0 };
  const nameOf = new Map(series.map(({ id, name }) => [id, name]));
  const from = afterStep === null ? -NO_LIMIT : afterStep + 1;
  const blocks = await changedBlocks(db, series.filter(({ before }) => before > from), from, after, query.limit);
  const { rows, total } = await newestOf(db, blocks.near, { after, head, from, limit: query.limit });
  const dropped = total - rows.length + (blocks.far.length === 0 ? 0 : await countNew(db, blocks.far, { after, head, from }));
  const points = rows.map((row) => ({ name: nameOf.get(row.series_id)!, step: row.step, at: row.at.getTime(), value: row.value }));
  return { points: points.sort((a, b) => a.step - b.step || (a.name < b.name ? -1 : 1)), cursor, dropped };
}

interface ChangedBlock { readonly series_id: number; readonly block: number; readonly points: number; readonly before: number }

/** Blocks that a batch after the cursor touched. `near`: of each metric the newest ones, enough to fill the answer; `far`: those before them, whose points can only be counted. */
async function changedBlocks(db: Db, series: readonly { id: number; before: number }[], from: number, after: number, limit: number): Promise<{ near: ChangedBlock[]; far: ChangedBlock[] }> {
  const { rows } = await sql<ChangedBlock>`
    select b.series_id, b.block, b.points, k.before
      from unnest(${int8Array(series.map(({ id }) => id))}::bigint[], ${int8Array(series.map(({ before }) => before))}::bigint[]) k (series_id, before)
      join metric_blocks b on b.series_id = k.series_id and b.batch > ${after}::bigint and b.last_step >= ${from}::bigint and b.first_step < k.before
     order by b.series_id, b.block desc`.execute(db);
  // A block may hold few new points beside old ones: only where everything is new do the counts say that the answer is full. Otherwise all are looked through.
  if (after > 0) return { near: rows, far: [] };
  const near: ChangedBlock[] = [], far: ChangedBlock[] = [];
  let seriesId = -1, points = 0;
  for (const row of rows) {
    if (row.series_id !== seriesId) [seriesId, points] = [row.series_id, 0];
    (points < limit + BLOCK_STEPS ? near : far).push(row);
    points += row.points;
  }
  return { near, far };
}

interface Bounds { readonly after: number; readonly head: number; readonly from: number }

/** The points of these blocks that the bounds admit. The inner `offset 0` keeps the planner to one index range per block: it would rather read the whole table for the newest batches. */
function newPointsOf(blocks: readonly ChangedBlock[], { after, head, from }: Bounds) {
  return sql`
    unnest(${int8Array(blocks.map((b) => b.series_id))}::bigint[], ${int8Array(blocks.map((b) => b.block))}::bigint[], ${int8Array(blocks.map((b) => b.before))}::bigint[]) k (series_id, block, before)
     cross join lateral (
       select * from metric_points i where i.series_id = k.series_id
          and i.step >= greatest(k.block * ${BLOCK_STEPS}::bigint, ${from}::bigint) and i.step < least((k.block + 1) * ${BLOCK_STEPS}::bigint, k.before) offset 0) p
     where p.batch > ${after}::bigint and p.batch <= ${head}::bigint`;
}

/** N3: newest first within each metric, the metrics taking turns. */
async function newestOf(db: Db, blocks: readonly ChangedBlock[], bounds: Bounds & { limit: number }): Promise<{ rows: { series_id: number; step: number; at: Date; value: number }[]; total: number }> {
  if (blocks.length === 0) return { rows: [], total: 0 };
  const { rows } = await sql<{ series_id: number; step: number; at: Date; value: number; total: number }>`
    select series_id, step, at, value, total from (
      select p.series_id, p.step, p.at, p.value, row_number() over (partition by p.series_id order by p.step desc) as turn, count(*) over () as total
        from ${newPointsOf(blocks, bounds)}) n
     order by turn, series_id limit ${Math.max(1, bounds.limit)}::int`.execute(db);
  return { rows, total: rows[0]?.total ?? 0 };
}

async function countNew(db: Db, blocks: readonly ChangedBlock[], bounds: Bounds): Promise<number> {
  const isWhole = (b: ChangedBlock) => b.block * BLOCK_STEPS >= bounds.from && (b.block + 1) * BLOCK_STEPS <= b.before;
  const cut = blocks.filter((b) => !isWhole(b));
  const counted = blocks.filter(isWhole).reduce((sum, { points }) => sum + points, 0);
  if (cut.length === 0) return counted;
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${newPointsOf(cut, bounds)}`.execute(db);
  return counted + rows[0]!.count;
}

function formatCursor(batch: number): string {
  return Buffer.from(`m:${batch}`).toString("base64url");
}

function parseCursor(cursor: string): number {
  const batch = /^m:(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString())?.[1];
  if (batch === undefined) throw new InvalidInputError(`${JSON.stringify(cursor)} is no cursor of a metric stream. Echo one that the stream gave, or leave it out.`, [], "INVALID_CURSOR");
  return Number(batch);
}
