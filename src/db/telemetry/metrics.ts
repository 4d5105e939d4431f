// Reads metric series for charts and lists.
//   M1. What comes out counts (visible-series.ts) and never exceeds the points asked for per series; extremes, non-finite values and the newest point survive (down-sample.ts).
//   M2. Short ranges come from the points, long ones from the roll-ups, so that a million points cost milliseconds. Where a range cuts a block, that block's points are read.
//   M3. Where retention has deleted the points, the roll-ups answer for short ranges too.

import { sql } from "kysely";
import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";
import { downSample } from "./down-sample.js";
import { BLOCK_STEPS, blockOf, pointsOf, type Block, type Point } from "./metric-block.js";
import { decodePoints, int8Array } from "./pg-binary.js";
import { NO_LIMIT, readVisibleSeries, type VisibleSeries } from "./visible-series.js";

export type { Point } from "./metric-block.js";

/** One metric of a stage, over all its attempts. */
export interface MetricSeries { readonly name: string; readonly points: readonly Point[] }

export interface MetricsQuery {
  readonly stageId: StageId;
  /** Null: all. */
  readonly names: readonly string[] | null;
  /** Both ends are included. */
  readonly fromStep: number | null;
  readonly toStep: number | null;
  /** Per series; below 4 counts as 4. */
  readonly maxPoints: number;
}

/** Raw points read per series, in multiples of those asked for: more detail than that a chart cannot show, a roll-up costs a thousandth of it. */
const RAW_PER_POINT = 25;
/** Raw points read for one call over all series. */
const RAW_PER_CALL = 400_000;

/** Names of the metrics that have points which count, in alphabetical order. */
export async function readMetricNames(db: Db, stageId: StageId): Promise<string[]> {
  const series = await readVisibleSeries(db, [stageId]);
  return [...new Set(series.map(({ name }) => name))].sort();
}

/** Series for a chart, in alphabetical order of their names. Names without points in the range are left out. */
export async function readMetrics(db: Db, query: MetricsQuery): Promise<MetricSeries[]> {
  const wanted = query.names === null ? null : new Set(query.names);
  const windows = (await readVisibleSeries(db, [query.stageId]))
    .filter(({ name }) => wanted?.has(name) ?? true)
    .map((series) => ({ ...series, from: query.fromStep ?? -NO_LIMIT, before: Math.min(series.before, query.toStep === null ? NO_LIMIT : query.toStep + 1) }))
    .filter((window) => window.from < window.before);
  if (windows.length === 0) return [];
  const counts = await countPoints(db, windows);
  const useRaw = chooseRaw(windows, counts, query.maxPoints);
  const found = await readWindows(db, windows, useRaw);
  const byName = new Map<string, Point[][]>();
  for (const window of windows) {
    const points = found.get(window.id) ?? [];
    if (points.length > 0) byName.set(window.name, [...(byName.get(window.name) ?? []), points]); // attempts in order: V2
  }
  return [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, parts]) => ({ name, points: downSample(parts.length === 1 ? parts[0]! : parts.flat(), query.maxPoints) }));
}

/** The newest point that counts of each metric, for lists. Stages without points are missing from the map. */
export async function readLatest(db: Db, stageIds: readonly StageId[]): Promise<Map<StageId, Map<string, Point>>> {
  const series = await readVisibleSeries(db, stageIds);
  if (series.length === 0) return new Map();
  // The newest block tells, unless part of it is superseded: then the points below the limit do, or where they are gone the newest whole block.
  const { rows } = await sql<{ series_id: number; step: number; at: Date; value: number }>`
    select k.series_id, n.step, n.at, n.value
      from unnest(${int8Array(series.map(({ id }) => id))}::bigint[], ${int8Array(series.map(({ before }) => before))}::bigint[]) k (series_id, before)
     cross join lateral (
       select step, at, value from (
         (select b.last_step as step, b.last_at as at, b.last_value as value from metric_blocks b where b.series_id = k.series_id and b.last_step < k.before order by b.block desc limit 1)
         union all
         (select p.step, p.at, p.value from metric_points p where p.series_id = k.series_id and p.step < k.before and k.before < ${NO_LIMIT}::bigint order by p.step desc limit 1)
       ) u order by step desc limit 1) n`.execute(db);
  const byId = new Map(rows.map((row) => [row.series_id, { step: row.step, at: row.at.getTime(), value: row.value }]));
  const latest = new Map<StageId, Map<string, Point>>();
  for (const { id, stageId, name } of series) { // later attempts come later and have the higher steps
    const point = byId.get(id);
    if (point !== undefined) latest.set(stageId, (latest.get(stageId) ?? new Map<string, Point>()).set(name, point));
  }
  return latest;
}

/** A series and the steps of it that are asked for: from `from`, below `before`. */
interface Window extends VisibleSeries { readonly from: number }

function windowArrays(windows: readonly Window[]) {
  return sql`unnest(${int8Array(windows.map(({ id }) => id))}::bigint[], ${int8Array(windows.map(({ from }) => from))}::bigint[], ${int8Array(windows.map(({ before }) => before))}::bigint[]) k (series_id, from_step, before)`;
}

/** Points per window by the roll-ups: exact up to the two blocks that its ends may cut. */
async function countPoints(db: Db, windows: readonly Window[]): Promise<Map<number, number>> {
  const { rows } = await sql<{ series_id: number; points: number }>`
    select k.series_id, (select coalesce(sum(b.points), 0)::bigint from metric_blocks b where b.series_id = k.series_id and b.last_step >= k.from_step and b.first_step < k.before) as points
      from ${windowArrays(windows)}`.execute(db);
  return new Map(rows.map((row) => [row.series_id, row.points]));
}

/** M2: which series are read point by point; small ones first, while the call's allowance lasts. */
function chooseRaw(windows: readonly Window[], counts: ReadonlyMap<number, number>, maxPoints: number): Set<number> {
  const raw = new Set<number>();
  let allowance = RAW_PER_CALL;
  for (const { id } of [...windows].sort((a, b) => (counts.get(a.id) ?? 0) - (counts.get(b.id) ?? 0))) {
    const count = counts.get(id) ?? 0;
    if (count > RAW_PER_POINT * Math.max(1, maxPoints) || count > allowance) break;
    allowance -= count;
    raw.add(id);
  }
  return raw;
}

async function readWindows(db: Db, windows: readonly Window[], useRaw: ReadonlySet<number>): Promise<Map<number, Point[]>> {
  const found = await readPoints(db, windows.filter(({ id }) => useRaw.has(id)));
  const rolled = windows.filter(({ id }) => !useRaw.has(id));
  // M3: a window whose points are not there any more.
  const missing = windows.filter(({ id }) => useRaw.has(id) && found.get(id) === undefined);
  if (rolled.length + missing.length === 0) return found;
  const blocks = await readBlocks(db, [...rolled, ...missing]);
  const cut: Window[] = [];
  for (const window of rolled) for (const { block, firstStep, last } of blocks.get(window.id) ?? []) if (firstStep < window.from || last.step >= window.before) cut.push(part(window, block));
  const edges = await readPointsOfParts(db, cut);
  for (const window of [...rolled, ...missing]) {
    found.set(window.id, (blocks.get(window.id) ?? []).flatMap((block) => {
      if (block.firstStep >= window.from && block.last.step < window.before) return pointsOf(block);
      return edges.get(`${window.id}#${block.block}`) ?? pointsOf(block).filter(({ step }) => step >= window.from && step < window.before);
    }));
  }
  return found;
}

/** The steps of a window that lie in one block. */
function part(window: Window, block: number): Window {
  return { ...window, from: Math.max(window.from, block * BLOCK_STEPS), before: Math.min(window.before, (block + 1) * BLOCK_STEPS) };
}

async function readPointsOfParts(db: Db, parts: readonly Window[]): Promise<Map<string, Point[]>> {
  const found = new Map<string, Point[]>();
  // At most two parts per series, the ends of its window: one query for the lower ones, one for the upper ones.
  const lower = new Map<number, Window>();
  const upper: Window[] = [];
  for (const window of parts) if (lower.has(window.id)) upper.push(window); else lower.set(window.id, window);
  for (const some of [[...lower.values()], upper]) {
    const points = await readPoints(db, some);
    for (const window of some) {
      const read = points.get(window.id);
      if (read !== undefined) found.set(`${window.id}#${blockOf(window.from)}`, read);
    }
  }
  return found;
}

/** All points of the windows; a window without any is missing from the map. */
async function readPoints(db: Db, windows: readonly Window[]): Promise<Map<number, Point[]>> {
  if (windows.length === 0) return new Map();
  const { rows } = await sql<{ series_id: number; data: Buffer | null }>`
    select k.series_id, (select string_agg(int8send(p.step) || timestamptz_send(p.at) || float8send(p.value), ''::bytea order by p.step)
                           from metric_points p where p.series_id = k.series_id and p.step >= k.from_step and p.step < k.before) as data
      from ${windowArrays(windows)}`.execute(db);
  return new Map(rows.flatMap((row) => (row.data === null ? [] : [[row.series_id, decodePoints(row.data)] as const])));
}

/** Roll-ups that overlap the windows, in rising order. One row per series, in binary: a dozen columns of thousands of rows would cost more to parse than to find. */
async function readBlocks(db: Db, windows: readonly Window[]): Promise<Map<number, Block[]>> {
  const point = (name: "min" | "max" | "last" | "non_finite") => {
    const [step, at, value] = [sql.ref(`b.${name}_step`), sql.ref(`b.${name}_at`), sql.ref(`b.${name}_value`)];
    return sql`case when ${step} is null then int8send(0) || int8send(0) || float8send(0) else int8send(${step}) || timestamptz_send(${at}) || float8send(${value}) end`;
  };
  const { rows } = await sql<{ series_id: number; data: Buffer | null }>`
    select k.series_id, (select string_agg(
               int8send(b.block) || int8send(b.first_step) || float8send(((b.min_step is not null)::int + 2 * (b.non_finite_step is not null)::int)::double precision)
               || ${point("min")} || ${point("max")} || ${point("last")} || ${point("non_finite")}, ''::bytea order by b.block)
             from metric_blocks b where b.series_id = k.series_id and b.block >= floor(k.from_step::numeric / ${BLOCK_STEPS}::int) and b.first_step < k.before and b.last_step >= k.from_step) as data
      from ${windowArrays(windows)}`.execute(db);
  return new Map(rows.map((row) => [row.series_id, row.data === null ? [] : decodeBlocks(row.data)]));
}

/** Five groups of 24 bytes per block: (block, first step, which points are there), then the four points. */
function decodeBlocks(bytes: Buffer): Block[] {
  const blocks: Block[] = [];
  const BYTES = 5 * 24;
  for (let offset = 0; offset < bytes.length; offset += BYTES) {
    const block = Number(bytes.readBigInt64BE(offset));
    const firstStep = Number(bytes.readBigInt64BE(offset + 8));
    const there = bytes.readDoubleBE(offset + 16);
    const [min, max, last, nonFinite] = decodePoints(bytes.subarray(offset + 24, offset + BYTES));
    const finite = there === 1 || there === 3;
    blocks.push({ block, points: 0, nonFinite: 0, firstStep, min: finite ? min! : null, max: finite ? max! : null, last: last!, lastNonFinite: there >= 2 ? nonFinite! : null });
  }
  return blocks;
}
