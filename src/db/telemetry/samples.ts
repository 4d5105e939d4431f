// Reads samples, page by page. A set is what one attempt reported of one source at one step.
//   R1. A set counts while no later attempt of the stage has reported a metric or a sample at or before its step, as with points (visible-series.ts).
//       Without a step the newest attempt's counts. Asked for by attempt, a set counts whatever came after.
//   R2. The order: newest step first, sets without a step before all; within a set as they came. It is the same for both directions of paging.

import { sql } from "kysely";
import type { StageId } from "../../domain/ids.js";
import type { SampleContent, SampleSource, SampleVerdict } from "../../domain/samples.js";
import type { Db } from "../database.js";
import { NO_LIMIT } from "./visible-series.js";

export interface SampleSet {
  readonly id: number;
  readonly stageId: StageId;
  readonly attempt: number;
  readonly source: SampleSource;
  readonly step: number | null;
  /** Stored samples. */
  readonly kept: number;
  /** Samples that were not stored because the set or the stage was full. */
  readonly leftOut: number;
  readonly counts: Readonly<Record<SampleVerdict, number>>;
}

export interface SampleRow extends SampleContent {
  readonly set: SampleSet;
  /** Within its set, from 0. */
  readonly position: number;
  readonly verdict: SampleVerdict;
}

/** The place of a sample in the order of a list (R2). */
export interface SamplePlace { readonly step: number | null; readonly source: SampleSource; readonly position: number }

export interface SampleQuery {
  readonly stageId: StageId;
  /** Null: all. */
  readonly source: SampleSource | null;
  /** Null: what counts of all of them (R1). */
  readonly attempt: number | null;
  /** Null: all. */
  readonly step: number | null;
  /** Null: all. */
  readonly verdict: SampleVerdict | null;
}

export interface SamplePage extends SampleQuery {
  /** Samples at most. */
  readonly limit: number;
  readonly forward: boolean;
  readonly after: SamplePlace | null;
  readonly before: SamplePlace | null;
}

/** All sets of these stages that count (R1), in the order R2. */
export async function listSampleSets(db: Db, stageIds: readonly StageId[]): Promise<SampleSet[]> {
  return (await readSets(db, stageIds)).filter((set) => set.visible).sort(byOrder);
}

/** The pages, each in its direction: the first row is the one next to where it begins. */
export async function readSamplePages(db: Db, pages: readonly SamplePage[]): Promise<SampleRow[][]> {
  const sets = await readSets(db, [...new Set(pages.map(({ stageId }) => stageId))]);
  const spans = pages.flatMap((page, index) => spansOf(page, sets).map((span, rank) => ({ ...span, index, rank })));
  if (spans.length === 0) return pages.map(() => []);
  const byId = new Map(sets.map((set) => [set.id, set]));
  const { rows } = await sql<Omit<SampleRow, "set"> & { index: number; setId: number }>`
    select p.index, r.* from unnest(${pages.map((_, index) => index)}::int[], ${pages.map(({ limit }) => limit)}::int[], ${pages.map(({ verdict }) => verdict)}::text[]) p (index, rows, verdict)
     cross join lateral (
       select s.set_id as "setId", s.position, s.key, s.prompt, s.output, s.truth, s.score, s.error, s.verdict, k.rank, k.forward
         from unnest(${spans.map(({ index }) => index)}::int[], ${spans.map(({ rank }) => rank)}::int[], ${spans.map(({ setId }) => setId)}::bigint[], ${spans.map(({ above }) => above)}::int[], ${spans.map(({ below }) => below)}::int[],
                     ${spans.map(({ forward }) => forward)}::boolean[]) k (index, rank, set_id, above, below, forward)
         join samples s on s.set_id = k.set_id and s.position > k.above and s.position < k.below
        where k.index = p.index and (p.verdict is null or s.verdict = p.verdict)
        order by k.rank, case when k.forward then s.position else -s.position end limit p.rows) r
     order by p.index, r.rank, case when r.forward then r.position else -r.position end`.execute(db);
  const found: SampleRow[][] = pages.map(() => []);
  for (const { index, setId, ...row } of rows) found[index]!.push({ ...row, set: byId.get(setId)! });
  return found;
}

/** Keys and scores of a set, in its order: what a comparison needs of each row. */
export async function readScores(db: Db, setId: number): Promise<{ readonly id: string; readonly score: number | null }[]> {
  const { rows } = await sql<{ id: string; score: number | null }>`select key as id, score from samples where set_id = ${setId}::bigint order by position`.execute(db);
  return rows.map(({ id, score }) => ({ id, score: score === null || !Number.isFinite(score) ? null : score }));
}

/** Samples by set and key; unknown ones are missing. */
export async function readSamplesByKey(db: Db, wanted: readonly { readonly set: SampleSet; readonly key: string }[]): Promise<SampleRow[]> {
  const { rows } = await sql<Omit<SampleRow, "set"> & { setId: number }>`
    select s.set_id as "setId", s.position, s.key, s.prompt, s.output, s.truth, s.score, s.error, s.verdict
      from unnest(${wanted.map(({ set }) => set.id)}::bigint[], ${wanted.map(({ key }) => key)}::text[]) k (set_id, key) join samples s on s.set_id = k.set_id and s.key = k.key`.execute(db);
  const sets = new Map(wanted.map(({ set }) => [set.id, set]));
  return rows.map(({ setId, ...row }) => ({ ...row, set: sets.get(setId)! }));
}

interface StoredSet extends SampleSet { readonly visible: boolean }

async function readSets(db: Db, stageIds: readonly StageId[]): Promise<StoredSet[]> {
  const { rows } = await sql<{ id: number; stageId: StageId; attempt: number; source: SampleSource; step: number | null; kept: number; leftOut: number; correct: number; wrong: number; errors: number; unscored: number; before: number | null; newest: boolean }>`
    select s.id, s.stage_id as "stageId", s.attempt, s.source, s.step, s.kept, s.left_out as "leftOut", s.correct, s.wrong, s.errors, s.unscored,
           least((select min(m.first_step) from metric_series m where m.stage_id = s.stage_id and m.attempt > s.attempt), (select min(l.step) from sample_sets l where l.stage_id = s.stage_id and l.attempt > s.attempt)) as before,
           s.attempt = max(s.attempt) over (partition by s.stage_id, s.source, s.step is null) as newest
      from sample_sets s where s.stage_id = any(${stageIds}::text[])`.execute(db);
  return rows.map(({ correct, wrong, errors, unscored, before, newest, ...row }) => ({
    ...row, counts: { CORRECT: correct, WRONG: wrong, ERROR: errors, UNSCORED: unscored }, visible: row.step === null ? newest : row.step < (before ?? NO_LIMIT), // R1
  }));
}

function byOrder(a: SampleSet, b: SampleSet): number {
  return comparePlaces(a, b) || b.attempt - a.attempt;
}

function comparePlaces(a: Pick<SamplePlace, "step" | "source">, b: Pick<SamplePlace, "step" | "source">): number {
  const [stepA, stepB] = [a.step ?? Infinity, b.step ?? Infinity];
  if (stepA !== stepB) return stepA > stepB ? -1 : 1;
  return a.source < b.source ? -1 : a.source > b.source ? 1 : 0;
}

interface Span { readonly setId: number; /** Both excluded. */ readonly above: number; readonly below: number; readonly forward: boolean }

/** The parts of sets that a page may be made of, in the order of reading; no more of them than the page can need. */
function spansOf(page: SamplePage, sets: readonly StoredSet[]): Span[] {
  const { after, before, forward } = page;
  const candidates = sets
    .filter((set) => set.stageId === page.stageId && (page.source === null || set.source === page.source) && (page.attempt === null ? set.visible : set.attempt === page.attempt) && (page.step === null || set.step === page.step))
    .sort(byOrder);
  if (!forward) candidates.reverse();
  const spans: Span[] = [];
  let sure = 0;
  for (const set of candidates) {
    if (sure >= page.limit) break;
    const [toAfter, toBefore] = [after === null ? 1 : comparePlaces(set, after), before === null ? -1 : comparePlaces(set, before)];
    const available = page.verdict === null ? set.kept : set.counts[page.verdict];
    if (toAfter < 0 || toBefore > 0 || available === 0) continue;
    const whole = toAfter > 0 && toBefore < 0;
    spans.push({ setId: set.id, above: toAfter === 0 ? after!.position : -1, below: toBefore === 0 ? before!.position : 2_147_483_647, forward });
    if (whole) sure += available;
  }
  return spans;
}
