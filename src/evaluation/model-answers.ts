// Draws the answers of a local model with verl's generation server, and scores answers with verl's main_eval.
//   M1. One run of the server per number of messages: it cannot mix dialogues of different lengths (src/verl/generation.ts, G2). Mostly that is one run.
//   M2. Answers belong to rows by the id that travels with them, and each run must answer exactly what it was asked.

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import { scorerKindOf } from "../domain/evaluation/evaluate-params.js";
import { readRecords } from "../data/read/read-records.js";
import { createDurableFile } from "../data/write/durable-file.js";
import type { OutputColumns } from "../data/write/output-columns.js";
import { createParquetOutput } from "../data/write/parquet-output.js";
import { GENERATION_ENVIRONMENT, generationCommand, scoresOfMainEval, scoringCommand } from "../verl/generation.js";
import { generationOverrideProblems } from "../verl/override-check.js";
import { releaseFor, type Release } from "../verl/releases.js";
import { runChild } from "./child-program.js";
import { ChildFailedError, EvaluationLacksModuleError, EvaluationRefusedError } from "./evaluation-errors.js";
import type { EvaluationRow } from "./evaluation-rows.js";
import { readSamples, type Sample } from "./samples-file.js";

export interface ModelHost {
  readonly params: EvaluateModelParams;
  /** Interpreter that has verl. */
  readonly python: string;
  readonly gpus: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Working files go below it. */
  readonly folder: string;
  say(text: string): void;
}

const MOST_ROW_BYTES = 64 * 1_048_576;

/** The table for the verl that is installed. Throws EvaluationLacksModuleError and EvaluationRefusedError. */
export async function installedVerl(host: ModelHost): Promise<Release> {
  const { params, python, environment, signal, say } = host;
  const needs = params.endpoint === undefined ? "draws the answers of a local model" : `scores them (${scorerKindOf(params)})`;
  const version = await runChild([python, "-c", PROBE], { environment, signal, name: python, show: false }).then((output) => output.trim(), (error: unknown) => {
    if (error instanceof ChildFailedError) return "";
    throw error;
  });
  if (version === "") throw new EvaluationLacksModuleError(`${python} on this host has no verl, which ${needs}.`);
  const choice = releaseFor(version);
  if (choice === null) throw new EvaluationRefusedError(`${python} has verl ${version}, which cannot be used; 0.7.0 is the oldest.`);
  say(`verl ${version}${choice.tried ? "" : `, which was never tried here; taken for ${choice.release.release}`}`);
  const [problem] = generationOverrideProblems(params.overrides ?? {}, choice.release, "params.overrides").filter(({ severity }) => severity === "ERROR");
  if (problem !== undefined) throw new EvaluationRefusedError(`${problem.path}: ${problem.message}${problem.hint === null ? "" : ` ${problem.hint}`}`);
  return choice.release;
}

/** Metadata first: importing verl takes seconds. A checkout on the path has none. */
const PROBE = `
from importlib import metadata
try:
    print(metadata.version("verl"))
except metadata.PackageNotFoundError:
    import importlib.util
    if importlib.util.find_spec("verl") is not None:
        import verl
        print(verl.__version__)
`;

/** Hands over every row's answers. Throws ChildFailedError, EvaluationRefusedError, the signal's reason, and what `took` throws. */
export async function drawFromModel(rows: readonly EvaluationRow[], release: Release, host: ModelHost, took: (row: EvaluationRow, responses: readonly string[]) => Promise<void>): Promise<void> {
  const groups = new Map<number, EvaluationRow[]>();
  for (const row of rows) {
    const group = groups.get(row.prompt.length);
    if (group === undefined) groups.set(row.prompt.length, [row]);
    else group.push(row);
  }
  for (const [messages, group] of [...groups].sort(([a], [b]) => a - b)) {
    const folder = join(host.folder, `draw-${messages}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const context = { python: host.python, gpus: host.gpus, promptsFile: join(folder, "prompts.parquet"), responsesFile: join(folder, "responses.parquet"), hydraDir: join(folder, "hydra") };
    for (const file of [context.promptsFile, context.responsesFile]) rmSync(file, { force: true });
    await writeParquet(context.promptsFile, PROMPTS, group.map(({ id, prompt }) => ({ id, prompt })));
    host.say(`drawing answers to ${group.length} rows with verl's generation server; verl writes them all at its end`);
    await runChild(generationCommand(host.params, release, context), { environment: { ...GENERATION_ENVIRONMENT, ...host.environment }, signal: host.signal, name: "verl's generation server", show: true });
    await handOver(context.responsesFile, group, host, took);
    rmSync(folder, { recursive: true, force: true });
  }
}

const MESSAGES = { list: { struct: { role: "string", content: "string" } } } as const;
const PROMPTS: OutputColumns = { id: "string", prompt: MESSAGES };
const ANSWERED: OutputColumns = { data_source: "string", prompt: MESSAGES, reward_model: { struct: { style: "string", ground_truth: "string" } }, responses: { list: "string" } };

/** M2. */
async function handOver(file: string, group: readonly EvaluationRow[], { params, signal }: ModelHost, took: (row: EvaluationRow, responses: readonly string[]) => Promise<void>): Promise<void> {
  const rows = new Map(group.map((row) => [row.id, row]));
  for await (const batch of readRecords(file, { format: "parquet", gzip: false, maxRowBytes: MOST_ROW_BYTES, signal })) {
    for (const { value, refusal } of batch) {
      if (refusal !== undefined) throw new ChildFailedError(`verl's generation server wrote a row that cannot be read: ${refusal.message}`);
      const row = rows.get(String(value["id"]));
      const responses = value["responses"];
      if (row === undefined || !Array.isArray(responses) || responses.length !== params.generation.n) throw new ChildFailedError(`verl's generation server wrote a row that is not one of those it was asked, or has not ${params.generation.n} responses`);
      rows.delete(row.id);
      await took(row, responses.map((response) => (typeof response === "string" ? response.toWellFormed() : "")));
    }
  }
  if (rows.size > 0) throw new ChildFailedError(`verl's generation server left ${rows.size} of ${group.length} rows without an answer`);
}

/** main_eval says means only, so there is no interval. */
export interface SourceScore { readonly mean: number; readonly n: number; readonly confidence?: undefined }

export interface MainEvalResult {
  /** Over all rows. */
  readonly score: SourceScore;
  /** Per data_source. */
  readonly bySource: ReadonlyMap<string, SourceScore>;
}

/** Scores the samples of a file with the reward function of the params. Throws ChildFailedError and the signal's reason. */
export async function scoreWithMainEval(samplesFile: string, ids: ReadonlySet<string>, release: Release, host: ModelHost): Promise<MainEvalResult> {
  const { scorer } = host.params;
  if (typeof scorer === "string" || !("verl" in scorer)) throw new TypeError("not verl's scorer");
  const folder = join(host.folder, "score");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const context = { python: host.python, responsesFile: join(folder, "answered.parquet"), hydraDir: join(folder, "hydra"), rewardFile: scorer.verl.file, rewardFunction: scorer.verl.function };
  rmSync(context.responsesFile, { force: true });
  const samples = new Map<string, Sample>();
  for await (const sample of readSamples(samplesFile)) if (ids.has(sample.id) && sample.responses.length > 0) samples.set(sample.id, sample);
  const counts = new Map<string, number>();
  await writeParquet(context.responsesFile, ANSWERED, [...samples.values()].map(({ prompt, groundTruth, dataSource = "custom", responses }) => {
    counts.set(dataSource, (counts.get(dataSource) ?? 0) + 1);
    return { data_source: dataSource, prompt, reward_model: { style: "rule", ground_truth: groundTruth }, responses };
  }));
  const output = await runChild(scoringCommand(release, context), { environment: { ...GENERATION_ENVIRONMENT, ...host.environment }, signal: host.signal, name: "verl's main_eval", show: true });
  const bySource = scoresOfMainEval(output);
  if (bySource === null) throw new ChildFailedError("verl's main_eval ended without saying scores");
  const scores = new Map(Object.entries(bySource).map(([source, mean]): [string, SourceScore] => [source, { mean, n: counts.get(source) ?? 0 }]));
  const rows = [...scores.values()].reduce((sum, { n }) => sum + n, 0);
  if (rows !== samples.size) throw new ChildFailedError(`verl's main_eval scored ${rows} of ${samples.size} rows`);
  return { score: { mean: [...scores.values()].reduce((sum, { mean, n }) => sum + mean * n, 0) / rows, n: rows }, bySource: scores };
}

async function writeParquet(path: string, columns: OutputColumns, rows: readonly Record<string, unknown>[]): Promise<void> {
  const file = await createDurableFile(path);
  try {
    const parquet = createParquetOutput({ file, columns, createdBy: "trainyard evaluate" });
    for (const row of rows) {
      const written = parquet.add(row, 1_000);
      if (written !== null) await written;
    }
    await parquet.finish();
  } finally {
    await file.abandon();
  }
}
