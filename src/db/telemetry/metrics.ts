// Reads metric series for charts and lists.
//   M1. What comes out counts (visible-series.ts) and never exceeds the points asked for per series; extremes, non-finite values and the newest point survive (down-sample.ts).
//   M2. Short ranges come from the points, long ones from the roll-ups, so that a million points cost milliseconds. Where a range cuts a block, that block's points are read.
//   M3. Where retention has deleted the points, the roll-ups answer for short ranges too.

import { sql } from "kysely";
import type { StageId } from "../../domain/ids.js";
import type { Db } from "../database.js";
import { downSample } from "./down-sample.js";
import { BLOCK_STEPS, blockOf, pointsOf, type Block, type Point } from "./metric-block.js";
import { decodePoints, int8Array, readInt8 } from "./pg-binary.js";
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
  return (await readMetricNamesOf(db, [stageId])).get(stageId) ?? [];
}

/** Names of the metrics of many stages; stages without any are missing. */
export async function readMetricNamesOf(db: Db, stageIds: readonly StageId[]): Promise<Map<StageId, string[]>> {
  const names = new Map<StageId, Set<string>>();
  for (const { stageId, name } of await readVisibleSeries(db, stageIds)) names.set(stageId, (names.get(stageId) ?? new Set<string>()).add(name));
  return new Map([...names].map(([stageId, found]) => [stageId, [...found].sort()]));
}

/** Series for a chart, in alphabetical order of their names. Names without points in the range are left out. */
export async function readMetrics(db: Db, { stageId, ...query }: MetricsQuery): Promise<MetricSeries[]> {
  return (await readMetricsOf(db, [stageId], query)).get(stageId) ?? [];
}

/** The same for many stages at once; stages without points are missing. */
export async function readMetricsOf(db: Db, stageIds: readonly StageId[], query: Omit<MetricsQuery, "stageId">): Promise<Map<StageId, MetricSeries[]>> {
  const wanted = query.names === null ? null : new Set(query.names);
  const windows = (await readVisibleSeries(db, stageIds))
    .filter(({ name }) => wanted?.has(name) ?? true)
    .map((series) => ({ ...series, from: query.fromStep ?? -NO_LIMIT, before: Math.min(series.before, query.toStep === null ? NO_LIMIT : query.toStep + 1) }))
    .filter((window) => window.from < window.before);
  if (windows.length === 0) return new Map();
  const blocks = await readBlocks(db, windows);
  const found = await readWindows(db, windows, blocks, chooseRaw(windows, blocks, query.maxPoints));
  const byStage = new Map<StageId, Map<string, Point[][]>>();
  for (const window of windows) {
    const points = found.get(window.id) ?? [];
    if (points.length === 0) continue;
    const byName = byStage.get(window.stageId) ?? new Map<string, Point[][]>();
    byStage.set(window.stageId, byName.set(window.name, [...(byName.get(window.name) ?? []), points])); // attempts in order: V2
  }
  return new Map([...byStage].map(([stageId, byName]) => [stageId, [...byName].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, parts]) => ({ name, points: downSample(parts.length === 1 ? parts[0]! : parts.flat(), query.maxPoints) }))]));
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

/** M2: which series are read point by point; small ones first, while the call's allowance lasts. The roll-ups tell how many points there are, up to the two blocks that the ends may cut. */
function chooseRaw(windows: readonly Window[], blocks: ReadonlyMap<number, readonly StoredBlock[]>, maxPoints: number): Set<number> {
  const raw = new Set<number>();
  let allowance = RAW_PER_CALL;
  const counted = windows.map(({ id }) => ({ id, count: (blocks.get(id) ?? []).reduce((sum, { points }) => sum + points, 0) }));
  for (const { id, count } of counted.sort((a, b) => a.count - b.count)) {
    if (count > RAW_PER_POINT * Math.max(1, maxPoints) || count > allowance) break;
    allowance -= count;
    raw.add(id);
  }
  return raw;
}

async function readWindows(db: Db, windows: readonly Window[], blocks: ReadonlyMap<number, readonly StoredBlock[]>, useRaw: ReadonlySet<number>): Promise<Map<number, Point[]>> {
  const isWhole = (block: StoredBlock, window: Window) => block.firstStep >= window.from && block.last.step < window.before;
  const found = await readPoints(db, windows.filter(({ id }) => useRaw.has(id)));
  const cut = windows.filter(({ id }) => !useRaw.has(id)).flatMap((window) => (blocks.get(window.id) ?? []).filter((block) => !isWhole(block, window)).map(({ block }) => part(window, block)));
  const edges = await readPointsOfParts(db, cut);
  for (const window of windows) {
    if (found.has(window.id)) continue; // M3: else too many points, or none left
    found.set(window.id, (blocks.get(window.id) ?? []).flatMap((block) => {
      if (isWhole(block, window)) return pointsOf(block);
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

/** What is read of a roll-up. */
type StoredBlock = Omit<Block, "nonFinite">;

/** Stands for a point that a block does not have: below every step. */
const NO_STEP = -(2 ** 53);

/** Roll-ups that overlap the windows, in rising order. One row per series, in binary: a dozen columns of thousands of rows would cost more to parse than to find. */
async function readBlocks(db: Db, windows: readonly Window[]): Promise<Map<number, StoredBlock[]>> {
  const point = (name: "min" | "max" | "last" | "non_finite") => {
    const [step, at, value] = [sql.ref(`b.${name}_step`), sql.ref(`b.${name}_at`), sql.ref(`b.${name}_value`)];
    return sql`int8send(coalesce(${step}, ${NO_STEP}::bigint)) || timestamptz_send(coalesce(${at}, b.last_at)) || float8send(coalesce(${value}, 0))`;
  };
  const { rows } = await sql<{ series_id: number; data: Buffer | null }>`
    select k.series_id, (select string_agg(int8send(b.block) || int8send(b.first_step) || int8send(b.points) || ${point("min")} || ${point("max")} || ${point("last")} || ${point("non_finite")}, ''::bytea order by b.block)
                           from metric_blocks b where b.series_id = k.series_id and b.block >= k.from_block and b.first_step < k.before and b.last_step >= k.from_step) as data
      from unnest(${int8Array(windows.map(({ id }) => id))}::bigint[], ${int8Array(windows.map(({ from }) => from))}::bigint[], ${int8Array(windows.map(({ from }) => blockOf(from)))}::bigint[],
                  ${int8Array(windows.map(({ before }) => before))}::bigint[]) k (series_id, from_step, from_block, before)`.execute(db);
  return new Map(rows.map((row) => [row.series_id, row.data === null ? [] : decodeBlocks(row.data)]));
}

/** Three numbers (block, first step, points), then four points. */
function decodeBlocks(bytes: Buffer): StoredBlock[] {
  const blocks: StoredBlock[] = [];
  const numbers = 3 * 8, size = numbers + 4 * 24;
  for (let offset = 0; offset < bytes.length; offset += size) {
    const [min, max, last, lastNonFinite] = decodePoints(bytes.subarray(offset + numbers, offset + size)).map((point) => (point.step === NO_STEP ? null : point));
    blocks.push({
      block: readInt8(bytes, offset), firstStep: readInt8(bytes, offset + 8), points: readInt8(bytes, offset + 16), min: min!, max: max!, last: last!, lastNonFinite: lastNonFinite!,
    });
  }
  return blocks;
}
