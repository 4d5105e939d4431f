// The answers of a local model, drawn by verl's generation server, and scores by verl's main_eval: what these programs are to read, how they are started, and what becomes of what they leave. They
// run where the attempt's programs run (wanted-program.ts).
//   M1. One run of the server per number of messages: it cannot mix dialogues of different lengths (src/verl/generation.ts, G2). Mostly that is one run.
//   M2. Answers belong to rows by the id that travels with them, and each run must answer exactly what it was asked.
//   M3. That a run was wanted is told by its folder: there is one, so what the run has left is looked for.

import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import { readRecords } from "../data/read/read-records.js";
import { createDurableFile } from "../data/write/durable-file.js";
import type { OutputColumns } from "../data/write/output-columns.js";
import { createParquetOutput } from "../data/write/parquet-output.js";
import { GENERATION_ENVIRONMENT, generationCommand, scoresOfMainEval, scoringCommand } from "../verl/generation.js";
import type { Release } from "../verl/releases.js";
import { EvaluationRefusedError, ProgramFailedError } from "./evaluation-errors.js";
import type { EvaluationRow } from "./evaluation-rows.js";
import { samplesIn, type Sample } from "./samples-file.js";
import { workFolder, writtenFiles, type WantedProgram } from "./wanted-program.js";

export interface ModelHost {
  readonly params: EvaluateModelParams;
  /** Interpreter that has verl, and which one that is. */
  readonly python: string;
  readonly release: Release;
  readonly gpus: number;
  readonly signal: AbortSignal;
  /** The attempt's output; working files go below it. */
  readonly folder: string;
  /** Gets what the programs say. */
  readonly placeOutput: string;
  say(text: string): void;
}

const MOST_ROW_BYTES = 64 * 1_048_576;

/** Hands over the answers of runs that have ended; the program of the next run, or null when every row is answered. Throws ProgramFailedError, EvaluationRefusedError, the signal's reason, and what
 *  `took` throws. */
export async function drawFromModel(rows: readonly EvaluationRow[], host: ModelHost, took: (row: EvaluationRow, responses: readonly string[]) => Promise<void>): Promise<WantedProgram | null> {
  const groups = new Map<number, EvaluationRow[]>();
  for (const row of rows) {
    const group = groups.get(row.prompt.length);
    if (group === undefined) groups.set(row.prompt.length, [row]);
    else group.push(row);
  }
  for (const [messages, group] of [...groups].sort(([a], [b]) => a - b)) { // M1
    const folder = join(workFolder(host.folder), `draw-${messages}`);
    const context = { python: host.python, gpus: host.gpus, promptsFile: join(folder, "prompts.parquet"), responsesFile: writtenFiles(host.folder).answers(messages), hydraDir: writtenFiles(host.folder).hydra };
    if (!existsSync(folder)) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      await writeParquet(context.promptsFile, PROMPTS, group.map(({ id, prompt }) => ({ id, prompt })));
      host.say(`drawing answers to ${group.length} rows with verl's generation server; verl writes them all at its end`);
      try {
        return { argv: generationCommand(host.params, host.release, context), environment: GENERATION_ENVIRONMENT, reads: [context.promptsFile], writes: [context.responsesFile] };
      } catch (error) {
        throw error instanceof RangeError ? new EvaluationRefusedError(error.message) : error;
      }
    }
    if (!existsSync(context.responsesFile)) throw new ProgramFailedError("verl's generation server ended without writing answers"); // M3
    await handOver(context.responsesFile, group, host, took);
    for (const done of [context.responsesFile, folder]) rmSync(done, { recursive: true, force: true });
  }
  return null;
}

const MESSAGES = { list: { struct: { role: "string", content: "string" } } } as const;
const PROMPTS: OutputColumns = { id: "string", prompt: MESSAGES };
const ANSWERED: OutputColumns = { data_source: "string", prompt: MESSAGES, reward_model: { struct: { style: "string", ground_truth: "string" } }, responses: { list: "string" } };

/** M2. */
async function handOver(file: string, group: readonly EvaluationRow[], { params, signal }: ModelHost, took: (row: EvaluationRow, responses: readonly string[]) => Promise<void>): Promise<void> {
  const rows = new Map(group.map((row) => [row.id, row]));
  for await (const batch of readRecords(file, { format: "parquet", gzip: false, maxRowBytes: MOST_ROW_BYTES, signal })) {
    for (const { value, refusal } of batch) {
      if (refusal !== undefined) throw new ProgramFailedError(`verl's generation server wrote a row that cannot be read: ${refusal.message}`);
      const row = rows.get(String(value["id"]));
      const responses = value["responses"];
      if (row === undefined || !Array.isArray(responses) || responses.length !== params.generation.n) throw new ProgramFailedError(`verl's generation server wrote a row that is not one of those it was asked, or has not ${params.generation.n} responses`);
      rows.delete(row.id);
      await took(row, responses.map((response) => (typeof response === "string" ? response.toWellFormed() : "")));
    }
  }
  if (rows.size > 0) throw new ProgramFailedError(`verl's generation server left ${rows.size} of ${group.length} rows without an answer`);
}

/** main_eval says means only, so there is no interval. */
export interface SourceScore { readonly mean: number; readonly n: number; readonly confidence?: undefined }

export interface MainEvalResult {
  /** Over all rows. */
  readonly score: SourceScore;
  /** Per data_source. */
  readonly bySource: ReadonlyMap<string, SourceScore>;
}

/** What main_eval said of the rows with these ids, or, when it has not been asked yet, its program. Throws ProgramFailedError. */
export async function scoreWithMainEval(ids: ReadonlySet<string>, host: ModelHost): Promise<{ readonly wanted: WantedProgram } | { readonly result: MainEvalResult }> {
  const { scorer } = host.params;
  if (typeof scorer === "string" || !("verl" in scorer)) throw new TypeError("not verl's scorer");
  const folder = join(workFolder(host.folder), "score");
  const saidFrom = join(folder, "said-from");
  const samples = [...(await samplesIn(host.folder)).values()].filter(({ id, responses }) => ids.has(id) && responses.length > 0);
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const context = { python: host.python, responsesFile: join(folder, "answered.parquet"), hydraDir: writtenFiles(host.folder).hydra, rewardFile: scorer.verl.file, rewardFunction: scorer.verl.function };
    await writeParquet(context.responsesFile, ANSWERED, samples.map(({ prompt, groundTruth, responses, ...sample }) => ({ data_source: sourceOf(sample), prompt, reward_model: { style: "rule", ground_truth: groundTruth }, responses })));
    writeFileSync(saidFrom, String(statSync(host.placeOutput, { throwIfNoEntry: false })?.size ?? 0));
    return { wanted: { argv: scoringCommand(host.release, context), environment: GENERATION_ENVIRONMENT, reads: [context.responsesFile], writes: [] } };
  }
  const said = readFileSync(host.placeOutput).subarray(Number(readFileSync(saidFrom, "utf8"))).toString("utf8");
  const bySource = scoresOfMainEval(said);
  if (bySource === null) throw new ProgramFailedError("verl's main_eval ended without saying scores");
  const counts = new Map<string, number>();
  for (const sample of samples) counts.set(sourceOf(sample), (counts.get(sourceOf(sample)) ?? 0) + 1);
  const scores = new Map(Object.entries(bySource).map(([source, mean]): [string, SourceScore] => [source, { mean, n: counts.get(source) ?? 0 }]));
  const rows = [...scores.values()].reduce((sum, { n }) => sum + n, 0);
  if (rows !== samples.length) throw new ProgramFailedError(`verl's main_eval scored ${rows} of ${samples.length} rows`);
  return { result: { score: { mean: [...scores.values()].reduce((sum, { mean, n }) => sum + mean * n, 0) / rows, n: rows }, bySource: scores } };
}

function sourceOf({ dataSource = "custom" }: Pick<Sample, "dataSource">): string {
  return dataSource;
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
