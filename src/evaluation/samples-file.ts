// samples.jsonl: one line per row with what was asked, answered and scored. Beside it evaluation.json says what the answers were drawn with.
//   S1. Lines are only appended, and are on disk before they count: a killed program repeats no request whose sample stands here.
//   S2. A later line replaces an earlier one of the same id.
//   S3. Answers are taken over from an earlier attempt only when they were drawn with the very same settings and for the same prompt.

import { createHash } from "node:crypto";
import { closeSync, createReadStream, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";

const messageSchema = z.object({ role: z.enum(["system", "user", "assistant", "tool"]), content: z.string() });
const sampleSchema = z.object({
  id: z.string().min(1),
  prompt: z.array(messageSchema),
  groundTruth: z.string(),
  dataSource: z.string().optional(),
  responses: z.array(z.string()),
  /** Of each response. */
  scores: z.array(z.number()),
  /** What was taken for the answer, of each response. */
  extracted: z.array(z.string().nullable()),
  /** Mean of `scores`; null when there is no answer or no score. */
  score: z.number().nullable(),
  /** Further figures of a scorer's program, each the mean over the responses. */
  figures: z.record(z.string(), z.number()).optional(),
  /** Responses that ended because they had reached maxTokens. */
  truncated: z.number().int().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type Sample = z.infer<typeof sampleSchema>;

export const SAMPLES_FILE = "samples.jsonl";
/** Samples whose answers are all scored together later: nobody is told of them before. */
const ANSWERS_FILE = "answers.jsonl";
const SETTINGS_FILE = "evaluation.json";

/** What answers depend on, as a hash: everything but how patiently they are fetched and how they are scored. */
export function settingsHash(params: EvaluateModelParams): string {
  const { model, endpoint, generation, engine, overrides, simulate } = params;
  const named = endpoint === undefined ? null : { url: endpoint.url, model: endpoint.model };
  return createHash("sha256").update(JSON.stringify([1, model ?? null, named, generation, engine ?? null, overrides ?? null, ...(simulate ? ["simulated"] : [])])).digest("hex");
}

/** What scores depend on besides the answer. */
export function scoringHash({ scorer, tolerance, ignoreCase }: EvaluateModelParams): string {
  return createHash("sha256").update(JSON.stringify([1, scorer, tolerance ?? null, ignoreCase ?? null])).digest("hex");
}

export interface Settings { readonly drawnWith: string; readonly scoredWith: string }

export interface SamplesFile {
  readonly path: string;
  /** Appends them; they are on disk when it returns. Throws what the file system throws. */
  append(samples: readonly Sample[]): void;
  close(): void;
}

/** Opens the file in `folder`, behind what an earlier program of the attempt has left in it. `waits`: the one for answers that are scored later. */
export function openSamplesFile(folder: string, settings: Settings, waits: boolean): SamplesFile {
  const path = join(folder, waits ? ANSWERS_FILE : SAMPLES_FILE);
  writeFileSync(join(folder, SETTINGS_FILE), `${JSON.stringify(settings)}\n`, { mode: 0o600, flush: true });
  const handle = openSync(path, "a", 0o600);
  return {
    path,
    append(samples) {
      const bytes = Buffer.from(samples.map((sample) => `${JSON.stringify(sample)}\n`).join(""));
      for (let from = 0; from < bytes.length;) from += writeSync(handle, bytes, from);
      fsyncSync(handle); // S1
    },
    close: () => closeSync(handle),
  };
}

/** Samples of the earlier attempts that may be used again, by id; the newest attempt's count first. Half a line at the end, as a kill leaves it, is passed over. */
export async function earlierSamples(folders: readonly string[], settings: Settings): Promise<ReadonlyMap<string, { readonly sample: Sample; readonly scored: boolean }>> {
  const found = new Map<string, { sample: Sample; scored: boolean }>();
  for (const folder of folders) {
    const left = readSettings(folder);
    if (left === null || left.drawnWith !== settings.drawnWith) continue; // S3
    for (const [id, sample] of await samplesIn(folder)) if (sample.responses.length > 0 && !found.has(id)) found.set(id, { sample, scored: sample.score !== null && left.scoredWith === settings.scoredWith });
  }
  return found;
}

/** The samples in a folder, by id. */
export async function samplesIn(folder: string): Promise<ReadonlyMap<string, Sample>> {
  const own = new Map<string, Sample>();
  for (const name of [ANSWERS_FILE, SAMPLES_FILE]) for await (const sample of readSamples(join(folder, name))) own.set(sample.id, sample); // S2
  return own;
}

/** The samples of a file, line by line; lines that are none are passed over. Nothing when there is no file. */
export async function* readSamples(path: string): AsyncGenerator<Sample, void> {
  const stream = createReadStream(path, "utf8");
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      const sample = parsedSample(line);
      if (sample !== null) yield sample;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  } finally {
    stream.destroy();
  }
}

/** The sample in a line; null when it holds none. */
export function parsedSample(line: string): Sample | null {
  try {
    return sampleSchema.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  }
}

function readSettings(folder: string): Settings | null {
  try {
    const { drawnWith, scoredWith } = JSON.parse(readFileSync(join(folder, SETTINGS_FILE), "utf8")) as Partial<Settings>;
    return typeof drawnWith === "string" && typeof scoredWith === "string" ? { drawnWith, scoredWith } : null;
  } catch {
    return null;
  }
}
