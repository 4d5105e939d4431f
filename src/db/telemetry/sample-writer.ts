// Stores what agents report of single questions and answers.
//   W1. A sample is stored once: (attempt, source, step, key) repeated changes nothing.
//   W2. A set and a stage have a bound; what comes after is counted, so that readers can be told.
// Whoever writes holds the lock of the stage's telemetry row (telemetry-rows.ts).

import type pg from "pg";
import type { StageId } from "../../domain/ids.js";
import { verdictOf, type SampleSource, type SampleVerdict } from "../../domain/samples.js";
import type { ReportOf, WireSample } from "../../protocol/messages.js";
import { storableText } from "./gathered-points.js";
import { float8Array, int8Array } from "./pg-binary.js";

/** Samples that are kept of one step (of one attempt, for evaluations). */
const MOST_PER_SET: Readonly<Record<SampleSource, number>> = { train: 1_000, validation: 1_000, evaluation: 100_000 };

export interface SamplesReport { readonly stageId: StageId; readonly attempt: number; readonly report: ReportOf<"samples"> }

/** W1, W2. `limitBytes`: of the texts of one stage. */
export async function storeSamples(client: pg.ClientBase, reports: readonly SamplesReport[], limitBytes: number): Promise<void> {
  const gathered = gather(reports);
  const sets = await openSets(client, [...gathered.values()]);
  const known = await knownKeys(client, sets);
  const room = await roomOf(client, new Set(sets.map(({ stageId }) => stageId)), limitBytes);
  const rows: StoredSample[] = [];
  const changed: OpenSet[] = [];
  for (const set of sets) {
    const fresh = [...set.samples.values()].filter(({ key }) => !known.has(`${set.id} ${key}`));
    if (fresh.length === 0) continue;
    changed.push(set);
    for (const sample of fresh) {
      const left = room.get(set.stageId)!;
      if (set.kept >= MOST_PER_SET[set.source] || left < sample.bytes) {
        set.leftOut++;
        continue;
      }
      room.set(set.stageId, left - sample.bytes);
      rows.push({ ...sample, setId: set.id, position: set.kept++ });
      set.bytes += sample.bytes;
      set.counts[sample.verdict]++;
    }
  }
  if (rows.length > 0) await insertSamples(client, rows);
  if (changed.length > 0) await saveSets(client, changed);
}

interface Sample extends Omit<WireSample, "score" | "source" | "step"> { readonly score: number | null; readonly verdict: SampleVerdict; readonly bytes: number }
interface StoredSample extends Sample { readonly setId: number; readonly position: number }
interface GatheredSet { readonly stageId: StageId; readonly attempt: number; readonly source: SampleSource; readonly step: number | null; readonly samples: Map<string, Sample> }
interface OpenSet extends GatheredSet { readonly id: number; kept: number; leftOut: number; bytes: number; readonly counts: Record<SampleVerdict, number> }

function gather(reports: readonly SamplesReport[]): Map<string, GatheredSet> {
  const sets = new Map<string, GatheredSet>();
  for (const { stageId, attempt, report } of reports) {
    for (const { source, step, ...wire } of report.samples) {
      const name = setName({ stageId, attempt, source, step });
      let set = sets.get(name);
      if (set === undefined) sets.set(name, (set = { stageId, attempt, source, step, samples: new Map() }));
      const sample = storable(wire);
      if (!set.samples.has(sample.key)) set.samples.set(sample.key, sample);
    }
  }
  return sets;
}

function setName({ stageId, attempt, source, step }: Pick<GatheredSet, "stageId" | "attempt" | "source" | "step">): string {
  return `${stageId} ${attempt} ${source} ${step}`;
}

function storable(wire: Omit<WireSample, "source" | "step">): Sample {
  const texts = { key: storableText(wire.key), prompt: storableText(wire.prompt), output: storableText(wire.output), truth: textOrNull(wire.truth), error: textOrNull(wire.error) };
  const score = typeof wire.score === "string" ? Number(wire.score) : wire.score;
  const bytes = Object.values(texts).reduce((sum, text) => sum + (text === null ? 0 : Buffer.byteLength(text)), 0);
  return { ...texts, score, verdict: verdictOf({ score, error: texts.error }), bytes };
}

function textOrNull(text: string | null): string | null {
  return text === null ? null : storableText(text);
}

/** The sets as stored, new ones made. */
async function openSets(client: pg.ClientBase, gathered: readonly GatheredSet[]): Promise<OpenSet[]> {
  const { rows } = await client.query<{ id: number; stage_id: StageId; attempt: number; source: SampleSource; step: number | null; kept: number; left_out: number; size_bytes: number; correct: number; wrong: number; errors: number; unscored: number }>({
    name: "telemetry-sample-sets",
    text: `insert into sample_sets as s (stage_id, attempt, source, step) select * from unnest($1::text[], $2::int[], $3::text[], $4::bigint[])
           on conflict (stage_id, attempt, source, step) do update set kept = s.kept
           returning id, stage_id, attempt, source, step, kept, left_out, size_bytes, correct, wrong, errors, unscored`,
    values: [gathered.map((set) => set.stageId), gathered.map((set) => set.attempt), gathered.map((set) => set.source), int8Array(gathered.map((set) => set.step))],
  });
  const stored = new Map(rows.map((row) => [setName({ ...row, stageId: row.stage_id }), row]));
  return gathered.map((set) => {
    const { id, kept, left_out, size_bytes, correct, wrong, errors, unscored } = stored.get(setName(set))!;
    return { ...set, id, kept, leftOut: left_out, bytes: size_bytes, counts: { CORRECT: correct, WRONG: wrong, ERROR: errors, UNSCORED: unscored } };
  });
}

/** Of these samples, those that are stored, as "<set> <key>". */
async function knownKeys(client: pg.ClientBase, sets: readonly OpenSet[]): Promise<ReadonlySet<string>> {
  const old = sets.filter(({ kept }) => kept > 0).flatMap(({ id, samples }) => [...samples.keys()].map((key) => ({ id, key })));
  if (old.length === 0) return new Set();
  const { rows } = await client.query<{ set_id: number; key: string }>({
    name: "telemetry-sample-keys",
    text: "select s.set_id, s.key from unnest($1::bigint[], $2::text[]) k (set_id, key) join samples s on s.set_id = k.set_id and s.key = k.key",
    values: [int8Array(old.map(({ id }) => id)), old.map(({ key }) => key)],
  });
  return new Set(rows.map(({ set_id, key }) => `${set_id} ${key}`));
}

/** Bytes that each stage may still store. */
async function roomOf(client: pg.ClientBase, stageIds: ReadonlySet<StageId>, limitBytes: number): Promise<Map<StageId, number>> {
  const { rows } = await client.query<{ stage_id: StageId; bytes: number }>({
    name: "telemetry-sample-room", text: "select stage_id, sum(size_bytes)::bigint as bytes from sample_sets where stage_id = any($1::text[]) group by stage_id", values: [[...stageIds]],
  });
  return new Map(rows.map(({ stage_id, bytes }) => [stage_id, limitBytes - bytes]));
}

async function insertSamples(client: pg.ClientBase, rows: readonly StoredSample[]): Promise<void> {
  await client.query({
    name: "telemetry-samples",
    text: `insert into samples (set_id, position, key, prompt, output, truth, score, error, verdict)
           select * from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::double precision[], $8::text[], $9::text[])`,
    values: [
      int8Array(rows.map((row) => row.setId)), rows.map((row) => row.position), rows.map((row) => row.key), rows.map((row) => row.prompt), rows.map((row) => row.output), rows.map((row) => row.truth),
      float8Array(rows.map((row) => row.score)), rows.map((row) => row.error), rows.map((row) => row.verdict),
    ],
  });
}

async function saveSets(client: pg.ClientBase, sets: readonly OpenSet[]): Promise<void> {
  await client.query({
    name: "telemetry-sample-sets-save",
    text: `update sample_sets s set kept = n.kept, left_out = n.left_out, size_bytes = n.size_bytes, correct = n.correct, wrong = n.wrong, errors = n.errors, unscored = n.unscored
             from unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::int[], $6::int[], $7::int[], $8::int[]) n (id, kept, left_out, size_bytes, correct, wrong, errors, unscored) where s.id = n.id`,
    values: [
      int8Array(sets.map((set) => set.id)), sets.map((set) => set.kept), sets.map((set) => set.leftOut), int8Array(sets.map((set) => set.bytes)),
      sets.map((set) => set.counts.CORRECT), sets.map((set) => set.counts.WRONG), sets.map((set) => set.counts.ERROR), sets.map((set) => set.counts.UNSCORED),
    ],
  });
}
