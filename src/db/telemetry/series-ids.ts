// Which number a metric of an attempt has in metric_points.
//   S1. The cache holds committed rows only: a row that this very transaction (or one still open) wrote is looked up again next time, so a rollback leaves nothing wrong behind.
//   S2. The caller holds the lock of the stage's telemetry row: nobody else adds series to the stage meanwhile.
//   S3. first_step only falls. A cached one may be too high, never too low; then the update does nothing.

import type pg from "pg";
import type { GatheredAttempt } from "./gathered-points.js";
import { int8Array } from "./pg-binary.js";

/** Series remembered by one process: about 200 bytes each. */
const DEFAULT_CAPACITY = 100_000;

interface Known { readonly id: number; readonly firstStep: number }
interface Row { id: number; stage_id: string; attempt: number; name: string; first_step: number; committed: boolean }
/** A series to be resolved, with the lowest step of the batch. */
interface Wanted { readonly key: string; readonly stageId: string; readonly attempt: number; readonly name: string; readonly firstStep: number }

export interface SeriesIds {
  /** Ids of all series of these attempts, by seriesKey; missing ones are created. Lowers first_step where the batch begins earlier. */
  resolve(client: pg.PoolClient, attempts: Iterable<GatheredAttempt>): Promise<Map<string, number>>;
}

export function seriesKey(stageId: string, attempt: number, name: string): string {
  return `${stageId}#${attempt}#${name}`;
}

export function createSeriesIds(capacity: number = DEFAULT_CAPACITY): SeriesIds {
  const cache = new Map<string, Known>(); // in order of use, oldest first
  const remember = (key: string, known: Known): void => {
    cache.delete(key);
    cache.set(key, known);
    if (cache.size > capacity) cache.delete(cache.keys().next().value!);
  };
  return {
    async resolve(client, attempts) {
      const ids = new Map<string, number>();
      const unknown: Wanted[] = [];
      const lowered: Wanted[] = [];
      for (const wanted of allOf(attempts)) {
        const known = cache.get(wanted.key);
        if (known === undefined) {
          unknown.push(wanted);
          continue;
        }
        ids.set(wanted.key, known.id);
        if (wanted.firstStep < known.firstStep) {
          lowered.push(wanted);
          cache.delete(wanted.key);
        } else remember(wanted.key, known);
      }
      const missing: Wanted[] = [];
      if (unknown.length > 0) {
        const found = await find(client, unknown);
        for (const wanted of unknown) {
          const row = found.get(wanted.key);
          if (row === undefined) {
            missing.push(wanted);
            continue;
          }
          ids.set(wanted.key, row.id);
          if (wanted.firstStep < row.first_step) lowered.push(wanted);
          else if (row.committed) remember(wanted.key, { id: row.id, firstStep: row.first_step });
        }
      }
      if (missing.length > 0) for (const row of await create(client, missing)) ids.set(seriesKey(row.stage_id, row.attempt, row.name), row.id);
      if (lowered.length > 0) await lower(client, lowered.map((wanted) => ({ id: ids.get(wanted.key)!, firstStep: wanted.firstStep })));
      return ids;
    },
  };
}

function* allOf(attempts: Iterable<GatheredAttempt>): Iterable<Wanted> {
  for (const { stageId, attempt, series } of attempts) {
    for (const { name, points, rising } of series.values()) {
      const firstStep = rising ? points[0]!.step : points.reduce((low, point) => Math.min(low, point.step), Infinity);
      yield { key: seriesKey(stageId, attempt, name), stageId, attempt, name, firstStep };
    }
  }
}

/** S1: every transaction older than the snapshot's xmin is over, and what it wrote and we see is committed. */
async function find(client: pg.PoolClient, wanted: readonly Wanted[]): Promise<Map<string, Row>> {
  const { rows } = await client.query<Row>({
    name: "telemetry-series-find",
    text: `select s.id, s.stage_id, s.attempt, s.name, s.first_step, age(s.xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid) as committed
             from unnest($1::text[], $2::int[], $3::text[]) k (stage_id, attempt, name)
             join metric_series s on s.stage_id = k.stage_id and s.attempt = k.attempt and s.name = k.name`,
    values: columns(wanted),
  });
  return new Map(rows.map((row) => [seriesKey(row.stage_id, row.attempt, row.name), row]));
}

async function create(client: pg.PoolClient, wanted: readonly Wanted[]): Promise<Row[]> {
  const { rows } = await client.query<Row>({
    name: "telemetry-series-create",
    text: `insert into metric_series (stage_id, attempt, name, first_step) select * from unnest($1::text[], $2::int[], $3::text[], $4::bigint[])
           on conflict (stage_id, attempt, name) do update set first_step = least(metric_series.first_step, excluded.first_step)
           returning id, stage_id, attempt, name`,
    values: [...columns(wanted), int8Array(wanted.map(({ firstStep }) => firstStep))],
  });
  return rows;
}

async function lower(client: pg.PoolClient, series: readonly Known[]): Promise<void> {
  await client.query(
    "update metric_series s set first_step = k.first_step from unnest($1::bigint[], $2::bigint[]) k (id, first_step) where s.id = k.id and k.first_step < s.first_step",
    [int8Array(series.map(({ id }) => id)), int8Array(series.map(({ firstStep }) => firstStep))],
  );
}

function columns(wanted: readonly Wanted[]): unknown[] {
  return [wanted.map(({ stageId }) => stageId), wanted.map(({ attempt }) => attempt), wanted.map(({ name }) => name)];
}
