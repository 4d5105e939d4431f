// Writes points and their roll-ups.
//   W1. A roll-up is right at every commit: where a batch lies wholly after what the block had, it is merged; where a step may have been reported before (or came late),
//       the block is computed anew from its points, in the same transaction.
//   W2. The caller holds the lock of the telemetry rows of all stages involved.

import type pg from "pg";
import { BLOCK_STEPS, rollUp, type Block, type Point } from "./metric-block.js";
import { decodePoints, float8Array, int8Array, timestampArray } from "./pg-binary.js";

/** Rows of one statement: its arrays stay at some megabytes. */
const ROWS_AT_ONCE = 50_000;

/** New points of one series: rising steps, each once. `batch`: the stage's, as of this transaction. */
export interface SeriesPoints {
  readonly id: number;
  readonly batch: number;
  readonly points: readonly Point[];
}

/** Stores the points; a step that is there takes the new value. Returns how many. */
export async function writePoints(client: pg.PoolClient, series: readonly SeriesPoints[]): Promise<number> {
  let count = 0;
  let rows = emptyRows();
  for (const { id, batch, points } of series) {
    for (const { step, at, value } of points) {
      rows.ids.push(id);
      rows.steps.push(step);
      rows.ats.push(at);
      rows.values.push(value);
      rows.batches.push(batch);
      if (rows.ids.length >= ROWS_AT_ONCE) {
        await insertPoints(client, rows);
        rows = emptyRows();
      }
    }
    count += points.length;
  }
  if (rows.ids.length > 0) await insertPoints(client, rows);
  const blocks = series.flatMap(({ id, batch, points }) => rollUp(points).map((block) => ({ id, batch, block })));
  for (let from = 0; from < blocks.length; from += ROWS_AT_ONCE) await mergeBlocks(client, blocks.slice(from, from + ROWS_AT_ONCE));
  return count;
}

interface PointRows { ids: number[]; steps: number[]; ats: number[]; values: number[]; batches: number[] }

function emptyRows(): PointRows {
  return { ids: [], steps: [], ats: [], values: [], batches: [] };
}

async function insertPoints(client: pg.PoolClient, rows: PointRows): Promise<void> {
  await client.query({
    name: "telemetry-points",
    text: `insert into metric_points (series_id, step, at, value, batch)
           select * from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::double precision[], $5::bigint[])
           on conflict (series_id, step) do update set at = excluded.at, value = excluded.value, batch = excluded.batch`,
    values: [int8Array(rows.ids), int8Array(rows.steps), timestampArray(rows.ats), float8Array(rows.values), int8Array(rows.batches)],
  });
}

interface BlockOf { readonly id: number; readonly batch: number; readonly block: Block }

const COLUMNS = `series_id, block, batch, points, non_finite, first_step, min_step, min_at, min_value, max_step, max_at, max_value,
  last_step, last_at, last_value, non_finite_step, non_finite_at, non_finite_value`;
const ARRAYS = `unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::timestamptz[], $9::double precision[],
  $10::bigint[], $11::timestamptz[], $12::double precision[], $13::bigint[], $14::timestamptz[], $15::double precision[], $16::bigint[], $17::timestamptz[], $18::double precision[])`;

function blockArrays(blocks: readonly BlockOf[]): Buffer[] {
  const point = (of: (block: Block) => Point | null): Buffer[] => {
    const points = blocks.map(({ block }) => of(block));
    return [int8Array(points.map((p) => p?.step ?? null)), timestampArray(points.map((p) => p?.at ?? null)), float8Array(points.map((p) => p?.value ?? null))];
  };
  const numbers = (of: (block: BlockOf) => number): Buffer => int8Array(blocks.map(of));
  return [
    numbers(({ id }) => id), numbers(({ block }) => block.block), numbers(({ batch }) => batch), numbers(({ block }) => block.points), numbers(({ block }) => block.nonFinite), numbers(({ block }) => block.firstStep),
    ...point(({ min }) => min), ...point(({ max }) => max), ...point(({ last }) => last), ...point(({ lastNonFinite }) => lastNonFinite),
  ];
}

/** W1. A row that the WHERE refuses keeps its old batch number: that is how the second step finds it. */
async function mergeBlocks(client: pg.PoolClient, blocks: readonly BlockOf[]): Promise<void> {
  const lower = "excluded.min_value < b.min_value or b.min_value is null";
  const higher = "excluded.max_value > b.max_value or b.max_value is null";
  const pick = (condition: string, column: string) => `${column} = case when ${condition} then excluded.${column} else b.${column} end`;
  const newer = (column: string) => `${column} = coalesce(excluded.${column}, b.${column})`;
  const { rowCount } = await client.query({
    name: "telemetry-blocks",
    text: `insert into metric_blocks as b (${COLUMNS}) select * from ${ARRAYS}
           on conflict (series_id, block) do update set
             batch = excluded.batch, points = b.points + excluded.points, non_finite = b.non_finite + excluded.non_finite,
             ${["min_step", "min_at", "min_value"].map((column) => pick(lower, column)).join(", ")},
             ${["max_step", "max_at", "max_value"].map((column) => pick(higher, column)).join(", ")},
             last_step = excluded.last_step, last_at = excluded.last_at, last_value = excluded.last_value,
             ${["non_finite_step", "non_finite_at", "non_finite_value"].map(newer).join(", ")}
           where excluded.first_step > b.last_step`,
    values: blockArrays(blocks),
  });
  if (rowCount !== blocks.length) await recompute(client, blocks);
}

async function recompute(client: pg.PoolClient, blocks: readonly BlockOf[]): Promise<void> {
  const { rows } = await client.query<{ series_id: number; batch: number; data: Buffer }>(
    `select k.series_id, k.batch, d.data
       from unnest($1::bigint[], $2::bigint[], $3::bigint[]) k (series_id, block, batch)
       join metric_blocks b on b.series_id = k.series_id and b.block = k.block and b.batch <> k.batch
       cross join lateral (select string_agg(int8send(p.step) || timestamptz_send(p.at) || float8send(p.value), ''::bytea order by p.step) as data
                             from metric_points p where p.series_id = k.series_id and p.step >= k.block * ${BLOCK_STEPS} and p.step < (k.block + 1) * ${BLOCK_STEPS}) d`,
    [int8Array(blocks.map(({ id }) => id)), int8Array(blocks.map(({ block }) => block.block)), int8Array(blocks.map(({ batch }) => batch))],
  );
  const anew = rows.flatMap((row) => rollUp(decodePoints(row.data)).map((block) => ({ id: row.series_id, batch: row.batch, block })));
  const columns = COLUMNS.split(",").map((column) => column.trim()).slice(2);
  await client.query(
    `update metric_blocks b set ${columns.map((column) => `${column} = n.${column}`).join(", ")} from ${ARRAYS} n (${COLUMNS}) where b.series_id = n.series_id and b.block = n.block`,
    blockArrays(anew),
  );
}
