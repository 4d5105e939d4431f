// A preprocess stage, from its input files to verl's Parquet: reads and judges the rows, arranges them, writes the files, accounts for every row.
//   E1. Equal input and params give equal bytes: nothing depends on time, place, the size of buffers or the order of completion.
//   E2. Memory does not grow with the rows, but for what remembers them: 27 to 54 bytes a row for `dedupe`, some 400 for `nearDuplicates`, 2 bits for sampling.
//   E3. Files appear under their names all at once at the end, the manifest last; after a refusal only rejects.jsonl does; after a cancellation nothing does.
//   E4. Every row that was read is kept, rejected or dropped, each for a reason (accounts.ts).
// Both sides of a split have rows, or the stage is refused: verl loads no empty file, and moving a row over would break the promise that a row's side follows from
// its content alone.

import { rename, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { DatasetFacts } from "../domain/data/dataset.js";
import type { PreprocessParams } from "../domain/data/preprocess-params.js";
import { createAccounts, type Accounts } from "./accounts.js";
import { createArrangement, needsSpill, type PlacedRow } from "./arrange/arrangement.js";
import { readInputs, type InputFile, type ReadFile } from "./intake.js";
import { manifestParams, manifestText, PREPROCESS_VERSION, toolVersion, type Manifest } from "./manifest.js";
import { createProgress, type ProgressReport } from "./preprocess-progress.js";
import { abortError, PreprocessRefusedError, throwIfCancelled } from "./preprocess-refused.js";
import { refuseEmptyFiles, refuseTooManyRejects } from "./refusal-rules.js";
import { hashFile } from "./read/file-hash.js";
import { openTokenizer, TokenizerError, type TokenCounter } from "./rows/tokens.js";
import { createDatasetOutput, type DatasetOutput } from "./write/dataset-output.js";
import { createDurableFile } from "./write/durable-file.js";
import type { SplitName } from "./write/output-columns.js";
import { createRejectsFile, type RejectsFile } from "./write/rejects-file.js";
import { createWorkFolder, OUTPUT_FILES, publishFiles, removeWorkFolder } from "./write/work-folder.js";

export interface PreprocessRequest {
  readonly params: PreprocessParams;
  readonly inputs: readonly InputFile[];
  /** Path of a tokenizer.json, for exact token counts. */
  readonly tokenizer: string | null;
  /** Where the files appear. Made when it is missing. */
  readonly outputDir: string;
  /** -train and -validation are appended. */
  readonly datasetName: string;
}

export interface PreprocessHost {
  readonly signal: AbortSignal;
  onProgress(at: ProgressReport): void;
  /** Bytes of rows that are held before they are set aside on disk. Default: DEFAULT_SPILL_BYTES. Has no influence on the files. */
  readonly spillBytes?: number;
}

export interface PreprocessResult {
  readonly files: readonly { readonly role: SplitName; readonly path: string; readonly datasetName: string; readonly facts: DatasetFacts }[];
  readonly read: readonly ReadFile[];
  readonly manifestFile: string;
  readonly rejectsFile: string;
  /** Rows that were read: trainRows + validationRows + dropped + rejected. */
  readonly rows: number;
  readonly trainRows: number;
  readonly validationRows: number;
  /** Sound rows that were left out: filters, duplicates, sampling. */
  readonly dropped: number;
  /** Broken rows. */
  readonly rejected: number;
  /** Rows by reason, rejected and dropped together. */
  readonly reasons: Readonly<Record<string, number>>;
  /** The first broken rows, as `file:line REASON: message`. */
  readonly firstRejects: readonly string[];
}

/** Throws PreprocessRefusedError, an AbortError once `host.signal` is aborted, and what the file system throws. */
export async function preprocess(request: PreprocessRequest, host: PreprocessHost): Promise<PreprocessResult> {
  throwIfCancelled(host.signal);
  const folder = await createWorkFolder(request.outputDir);
  try {
    const result = await prepareFiles(request, folder, host);
    throwIfCancelled(host.signal);
    await publishResult(result, folder, request.outputDir);
    return result;
  } catch (error) {
    if (error instanceof PreprocessRefusedError && !host.signal.aborted) await publishRejects(folder, request.outputDir);
    throw error;
  } finally {
    await removeWorkFolder(folder);
  }
}

/** Moves a prepared result to where it says it lies. */
export async function publishResult(result: PreprocessResult, folder: string, outputDir: string): Promise<void> {
  await publishFiles(folder, outputDir, [...result.files.map((file) => file.path), result.rejectsFile, result.manifestFile].map((path) => basename(path)));
}

/** After a refusal: the complete list of broken rows, if the inputs were read to their end. */
export async function publishRejects(folder: string, outputDir: string): Promise<void> {
  const complete = await stat(join(folder, OUTPUT_FILES.rejects)).then(() => true, () => false);
  if (complete) await publishFiles(folder, outputDir, [OUTPUT_FILES.rejects]);
}

/** Makes all files in `folder`, finished and synced; the result names them where they will lie. */
export async function prepareFiles(request: PreprocessRequest, folder: string, host: PreprocessHost): Promise<PreprocessResult> {
  const { params, inputs, tokenizer, outputDir, datasetName } = request;
  const { signal } = host;
  const sizes = await Promise.all(inputs.map(async ({ path, format }) => ({ sizeBytes: await stat(path).then((file) => file.size, () => 0), hashing: format === "parquet" })));
  const progress = createProgress(sizes, needsSpill(params), (at) => host.onProgress(at));
  const tokens = tokenizer === null ? null : await openTokens(tokenizer);
  const accounts = createAccounts(inputs.length);
  const rejects = await createRejectsFile(join(folder, UNFINISHED_REJECTS));
  const outputs = await createOutputs(params, folder, tokens);
  try {
    const arrangement = createArrangement({ params, sources: inputs.map((input) => input.spec), folder, spillBytes: host.spillBytes }, {
      signal,
      emit({ row, source, split, index }: PlacedRow) {
        accounts.keep(source);
        return outputs.get(split)!.add(row, index);
      },
      notSampled: (source) => accounts.drop(source, "NOT_SAMPLED"),
      onProgress: (done, total) => progress.arranged(done, total),
    });
    const { read, firstRejects } = await readInputs(inputs, { params, tokens, signal, accounts, rejects, progress, accept: (row, source) => arrangement.add(row, source) });
    const rejected = await finishRejects(rejects, folder);
    refuseTooManyRejects(params, accounts, firstRejects);
    await arrangement.finish();
    throwIfCancelled(signal);
    refuseEmptyFiles(params, accounts, outputs, firstRejects);
    accounts.assertBalanced();
    progress.finishing();

    const files: { role: SplitName; path: string; datasetName: string; facts: DatasetFacts }[] = [];
    for (const [role, output] of outputs) files.push({ role, path: join(outputDir, OUTPUT_FILES[role]), datasetName: `${datasetName}-${role}`, facts: await output.finish() });
    const totals = accounts.totals();
    await writeManifest(folder, {
      tool: { name: "trainyard", version: toolVersion(), preprocess: PREPROCESS_VERSION },
      task: params.task,
      seed: params.seed,
      params: manifestParams(params),
      tokenizer: tokenizer === null ? null : { name: basename(tokenizer), sha256: (await hashFile(tokenizer, { signal })).sha256 },
      rows: { in: totals.rows, kept: totals.kept, rejected: totals.rejected, dropped: totals.dropped },
      reasons: { ...totals.reasons },
      inputs: inputs.map((input, source) => manifestInput(input, read[source]!, accounts, source)),
      outputs: files.map(({ role, facts }) => ({ role, file: OUTPUT_FILES[role], sha256: facts.contentHash, sizeBytes: facts.sizeBytes, rows: facts.rows, schema: facts.columns.map((column) => ({ ...column })) })),
      rejects: rejected,
    });
    progress.finished();
    return {
      files, read, firstRejects,
      manifestFile: join(outputDir, OUTPUT_FILES.manifest), rejectsFile: join(outputDir, OUTPUT_FILES.rejects),
      rows: totals.rows, trainRows: outputs.get("train")!.rows, validationRows: outputs.get("validation")?.rows ?? 0,
      dropped: totals.dropped, rejected: totals.rejected, reasons: totals.reasons,
    };
  } catch (error) {
    if (signal.aborted) throw abortError();
    throw error;
  } finally {
    await rejects.abandon();
    for (const output of outputs.values()) await output.abandon();
  }
}

/** Throws PreprocessRefusedError when the file is no tokenizer that can be run here. */
async function openTokens(path: string): Promise<TokenCounter> {
  try {
    return await openTokenizer(path);
  } catch (error) {
    throw error instanceof TokenizerError ? new PreprocessRefusedError(error.message) : error;
  }
}

/** Until it is complete it does not bear its name, so that a refusal never publishes half a list. */
const UNFINISHED_REJECTS = "rejects.part";

async function finishRejects(rejects: RejectsFile, folder: string): Promise<Manifest["rejects"]> {
  const { sha256, sizeBytes, rows } = await rejects.finish();
  await rename(join(folder, UNFINISHED_REJECTS), join(folder, OUTPUT_FILES.rejects));
  return { file: OUTPUT_FILES.rejects, sha256, sizeBytes, rows };
}

async function createOutputs(params: PreprocessParams, folder: string, tokens: TokenCounter | null): Promise<ReadonlyMap<SplitName, DatasetOutput>> {
  const outputs = new Map<SplitName, DatasetOutput>();
  for (const split of params.split === undefined ? (["train"] as const) : (["train", "validation"] as const)) {
    outputs.set(split, await createDatasetOutput({ path: join(folder, OUTPUT_FILES[split]), split, params, tokens }));
  }
  return outputs;
}

async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const file = await createDurableFile(join(folder, OUTPUT_FILES.manifest));
  try {
    await file.write(Buffer.from(manifestText(manifest), "utf8"));
    await file.finish();
  } finally {
    await file.abandon();
  }
}

function manifestInput({ name, format }: InputFile, { contentHash, sizeBytes }: ReadFile, accounts: Accounts, source: number): Manifest["inputs"][number] {
  const { rows, kept, rejected, dropped } = accounts.ofInput(source);
  return { name, format, sha256: contentHash, sizeBytes, rows, kept, rejected: { ...rejected }, dropped: { ...dropped } };
}
